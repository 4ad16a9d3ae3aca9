// A folder of lib imports only from folders above it in this list (the rooms of docs/architecture). The files in the
// root of lib (errors, options, random, native, native-loader) stand at the top; index.ts may import everything.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import test from 'ava'
import { packageRoot } from '../lib/native-loader.js'

const rooms: readonly (readonly string[])[] = [
  ['root'],
  ['io'],
  ['tensor'],
  ['autograd'],
  ['ops'],
  ['policy'],
  ['sampler'],
  ['methods'],
  ['data'],
  ['rewards'],
  ['training'],
  ['evaluation', 'report'],
  ['compare'],
  ['cli'],
]

function level(room: string): number {
  return rooms.findIndex(names => names.includes(room))
}

// 'ops/linear.ts' -> 'ops', 'errors.ts' -> 'root'.
function roomOf(path: string): string {
  return path.includes('/') ? (path.split('/')[0] ?? '') : 'root'
}

const folder = join(packageRoot, 'lib')
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(name => relative(folder, join(folder, name)).split(sep).join('/'))
  .sort()

// Every module that a file names: import, export from, and import().
function importsOf(path: string): string[] {
  const text = readFileSync(join(folder, path), 'utf8')
  const pattern =
    /^\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm
  return [...text.matchAll(pattern)].map(match => match[1] ?? match[2] ?? '')
}

test('every folder of lib is in the list', t => {
  t.true(files.length >= 20, `only ${files.length} files found`)
  const unknown = files.filter(path => level(roomOf(path)) < 0)
  t.deepEqual(unknown, [], 'a new folder needs its place in the list')
})

test('imports go upwards only', t => {
  const wrong: string[] = []
  let checked = 0
  for (const path of files) {
    if (path === 'index.ts') continue
    const from = roomOf(path)
    for (const target of importsOf(path)) {
      if (!target.startsWith('.')) continue
      const resolved = posix.normalize(posix.join(dirname(path), target))
      // The build's own modules, outside lib.
      if (resolved.startsWith('../scripts/')) continue
      const to = roomOf(resolved)
      checked += 1
      const allowed = from === to || level(to) < level(from)
      if (!allowed) wrong.push(`lib/${path} imports ${target}: ${from} stands above ${to}`)
    }
  }
  t.true(checked >= 20, `only ${checked} imports found`)
  t.deepEqual(wrong, [])
})

test('native.ts alone loads the addon', t => {
  const loaders = files.filter(path => /\bloadAddon\b/.test(readFileSync(join(folder, path), 'utf8')))
  t.deepEqual(loaders, ['native-loader.ts', 'native.ts'])
})
