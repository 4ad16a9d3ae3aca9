// A kernel object compiled for AVX-512 must not lend its copy of a shared inline function to code that runs on older
// processors: the linker keeps one copy of each weak symbol, whichever comes first. So the objects of the instruction
// sets may define weak symbols only inside their own namespace.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { importTools } from '../../lib/cli/package-scripts.js'
import { packageRoot } from '../../lib/native-loader.js'

// Objects of the kernels, wherever cmake or node-gyp put them: [backend, path].
function kernelObjects(): [string, string][] {
  const build = join(packageRoot, 'build')
  if (!existsSync(build)) return []
  return readdirSync(build, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.o') && !name.includes('sanitize'))
    .flatMap(name => {
      const backend = /luffy_(cpu_[a-z0-9]+)/.exec(name)?.[1]
      return backend ? [[backend, join(build, name)] as [string, string]] : []
    })
}

const { findCommand } = await importTools()
const nm = findCommand('nm')
const objects = kernelObjects()
const run = nm ? test : test.skip

run(`weak symbols of the kernels stay in their namespace${nm ? '' : ' (no nm here)'}`, t => {
  t.true(objects.length >= 10, `only ${objects.length} objects found under build/`)
  const wrong: string[] = []
  for (const backend of new Set(objects.map(([name]) => name))) {
    const paths = objects.filter(([name]) => name === backend).map(([, path]) => path)
    const text = execFileSync(nm!, ['-A', '--defined-only', ...paths], {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    })
    const own = `${backend.length}${backend}`
    for (const line of text.split('\n')) {
      const name = /:[0-9a-f]+ [WuV] (.*)$/.exec(line)?.[1]
      if (name && !name.includes(own)) wrong.push(line)
    }
  }
  t.deepEqual(wrong, [])
})
