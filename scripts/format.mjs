// Formats the native sources with clang-format; --check only looks. Another major version formats some constructs
// differently, so that any but this one is named and skipped.
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const major = 14
const root = fileURLToPath(new URL('..', import.meta.url))
const check = process.argv.includes('--check')

function nativeFiles() {
  return readdirSync(join(root, 'native'), { recursive: true })
    .filter(name => /\.(h|cpp|cu|cuh)$/.test(name))
    .map(name => join('native', name))
    .sort()
}

function findClangFormat() {
  for (const command of [`clang-format-${major}`, 'clang-format']) {
    try {
      const text = execFileSync(command, ['--version'], { encoding: 'utf8' })
      if (Number(/version (\d+)/.exec(text)?.[1]) === major) return command
    } catch {}
  }
  return null
}

const command = findClangFormat()
const files = nativeFiles()
if (files.length === 0) throw new Error('no native sources found')
if (!command) {
  console.log(
    `clang-format ${major} not found: skipped ${files.length} native files (apt install clang-format-${major})`,
  )
} else {
  try {
    execFileSync(command, [...(check ? ['--dry-run', '--Werror'] : ['-i']), ...files], {
      cwd: root,
      stdio: 'inherit',
    })
    console.log(`clang-format: ${files.length} native files ${check ? 'checked' : 'formatted'}`)
  } catch {
    console.error('clang-format: run npm run format')
    process.exitCode = 1
  }
}
