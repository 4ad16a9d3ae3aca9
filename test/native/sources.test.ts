// The map cannot rot: native/sources.json lists what is there, both builds read it, and every op has all its files.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'

interface SourceList {
  sources: Record<
    'core' | 'addon' | 'cuda' | 'pluginCore' | 'programCore' | 'kernelTests' | 'kernelBench' | 'ops',
    string[]
  >
  backends: Record<string, { name: string; flags: string[] }[]>
}

const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8')
const list = JSON.parse(read('native/sources.json')) as SourceList
// pluginCore: what a plugin links of core, and the record of faults that only devices have. programCore: what the programs
// for cards link besides.
const { pluginCore, programCore, ...own } = list.sources
const isOfCore = (file: string) => list.sources.core.includes(file)
const listed = [
  ...Object.values(own).flat(),
  ...[...pluginCore, ...programCore].filter(file => !isOfCore(file)),
]

function filesOf(folder: string, ending: string): string[] {
  return readdirSync(join(packageRoot, folder))
    .filter(name => name.endsWith(ending))
    .map(name => `${folder}/${name}`)
}

test('sources.json lists every source file once, sorted, and no other', t => {
  const present = ['native/core', 'native/addon', 'native/ops', 'native/programs'].flatMap(folder => [
    ...filesOf(folder, '.cpp'),
    ...filesOf(folder, '.cu'),
  ])
  t.true(present.length >= 20, `only ${present.length} sources found`)
  t.deepEqual([...listed].sort(), present.sort())
  t.is(new Set(listed).size, listed.length)
  for (const [name, files] of Object.entries(list.sources)) t.deepEqual(files, [...files].sort(), name)
  t.deepEqual(
    pluginCore.filter(file => !isOfCore(file)),
    ['native/core/fault.cpp'],
  )
})

test('both builds take their files and flags from the list', t => {
  const cmake = read('CMakeLists.txt')
  const gyp = read('binding.gyp')
  for (const [name, text] of Object.entries({ 'CMakeLists.txt': cmake, 'binding.gyp': gyp })) {
    t.notRegex(text, /\.(cpp|cu)\b/, `${name} names a source itself`)
    t.notRegex(text, /-m(avx|fma|bmi|f16c)/, `${name} names instruction sets itself`)
  }
  t.regex(cmake, /native\/sources\.json/)
  const cuda = ['cuda', 'pluginCore', 'programCore', 'kernelTests', 'kernelBench']
  for (const name of cuda)
    t.true(read('native/cuda.cmake').includes(`sources ${name}`), `cuda.cmake does not read ${name}`)
  for (const name of Object.keys(list.sources).filter(name => !cuda.includes(name))) {
    t.true(cmake.includes(`sources ${name}`), `CMakeLists.txt does not read ${name}`)
    t.true(gyp.includes(`<(luffy_list) ${name})`), `binding.gyp does not read ${name}`)
  }
  for (const { name } of Object.values(list.backends).flat()) {
    t.true(gyp.includes(`'luffy_${name}'`), `binding.gyp has no target for ${name}`)
  }
})

test('the lists that binding.gyp runs for are those of sources.json', t => {
  const script = join(packageRoot, 'scripts/native-sources.mjs')
  const print = (name: string) =>
    execFileSync(process.execPath, [script, name], { encoding: 'utf8' }).split('\n').filter(Boolean)
  for (const name of ['core', 'addon', 'ops'] as const) t.deepEqual(print(name), list.sources[name])
  for (const { name, flags } of list.backends[process.arch] ?? list.backends.other ?? []) {
    t.deepEqual(print(name), flags)
  }
  t.throws(() => execFileSync(process.execPath, [script, 'nothing'], { stdio: 'pipe' }))
})

test('every op has its contract, kernel, TypeScript file and test', t => {
  const stems = filesOf('native/ops', '.h')
    .map(path => path.slice('native/ops/'.length, -2))
    .filter(stem => existsSync(join(packageRoot, `native/ops/${stem}.cpp`)) && stem !== 'cpu-backend')
  t.true(stems.length >= 10, `only ${stems.length} ops found`)
  const missing = stems
    .flatMap(stem => [`lib/ops/${stem}.ts`, `test/ops/${stem}.test.ts`])
    .filter(path => !existsSync(join(packageRoot, path)))
  t.deepEqual(missing, [])
})

test('op-list.h includes every contract', t => {
  const text = read('native/ops/op-list.h')
  const contracts = list.sources.ops
    .map(path => path.replace('native/ops/', '').replace('.cpp', '.h'))
    .filter(name => existsSync(join(packageRoot, 'native/ops', name)))
  t.true(contracts.length >= 10)
  t.deepEqual(
    contracts.filter(name => !text.includes(`#include "${name}"`)),
    [],
  )
})
