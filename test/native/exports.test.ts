// The border's type (lib/native.ts) and what the addon exports are the same list, with the same number of arguments.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { native, nativeNames } from '../../lib/native.js'
import { packageRoot } from '../../lib/native-loader.js'

test('lib/native.ts declares exactly what the addon exports', t => {
  t.deepEqual([...nativeNames].sort(), Object.keys(native()).sort())
  for (const name of nativeNames) t.is(typeof native()[name], 'function', name)
})

test('every function is declared with the number of arguments that it takes', t => {
  const source = readFileSync(join(packageRoot, 'lib/native.ts'), 'utf8')
  const body = source.slice(source.indexOf('export interface Native {'))
  for (const name of nativeNames) {
    const declaration = new RegExp(`\\n  ${name}\\(([^)]*)\\)`).exec(body)?.[1] ?? 'missing'
    const count = declaration.split(',').filter(part => part.includes(':')).length
    // One argument too many is refused with the number that was expected.
    const call = native()[name] as (...rest: unknown[]) => unknown
    const expected = new RegExp(`^${name}: expected ${count} arguments, got ${count + 1}$`)
    t.throws(() => call(...Array(count + 1).fill(0)), { instanceOf: TypeError, message: expected }, name)
  }
})

test('every op of the list has a row here', t => {
  const list = readFileSync(join(packageRoot, 'native/ops/op-list.h'), 'utf8')
  const ops = [...list.matchAll(/ X\((\w+)\)/g)].map(match => match[1] as string)
  t.true(ops.length > 30)
  for (const op of ops) {
    const name = op.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
    t.true((nativeNames as string[]).includes(name), name)
  }
})
