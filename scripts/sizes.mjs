// Prints the number of lines of every source file, largest first (--quiet: only what is wrong). A file over the
// budget must say "over 500 lines" and why in its first 15 lines, otherwise this fails.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const budget = 500
const root = fileURLToPath(new URL('..', import.meta.url))
const folders = ['native', 'lib', 'test', 'benchmarks', 'examples', 'scripts']
const quiet = process.argv.includes('--quiet')

const files = folders.flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true })
    .filter(name => /\.(ts|mjs|mts|h|cpp|cu|cuh)$/.test(name))
    .map(name => {
      const path = `${folder}/${name}`
      const lines = readFileSync(join(root, path), 'utf8').split('\n')
      const explained = /over 500 lines/i.test(lines.slice(0, 15).join('\n'))
      return { path, folder, lines: lines.length - 1, explained }
    }),
)
if (files.length === 0) throw new Error('no source files found')
files.sort((a, b) => b.lines - a.lines)

if (!quiet) {
  for (const { path, lines } of files) console.log(`${String(lines).padStart(6)}  ${path}`)
  console.log('')
}
for (const folder of folders) {
  const lines = files.filter(file => file.folder === folder).map(file => file.lines)
  if (quiet || lines.length === 0) continue
  const sum = lines.reduce((a, b) => a + b, 0)
  const median = lines[Math.floor(lines.length / 2)]
  console.log(
    `${folder.padEnd(12)}${String(lines.length).padStart(4)} files${String(sum).padStart(8)} lines, median ${median}`,
  )
}
const tooLong = files.filter(file => file.lines > budget && !file.explained)
for (const { path, lines } of tooLong)
  console.error(`${path}: ${lines} lines, and no "over 500 lines" with the reason at its head`)
console.log(`sizes: ${files.length} files, ${tooLong.length} over ${budget} lines without a reason`)
process.exitCode = tooLong.length === 0 ? 0 : 1
