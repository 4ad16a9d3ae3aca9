import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import { DataError, ModelFileError } from '../../lib/errors.js'
import { JsonFields, type JsonValue, parseJson, parseJsonObject } from '../../lib/policy/json.js'

const source = 'x.json'

// Maps to plain objects, for comparison with JSON.parse.
function plain(value: JsonValue): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]))
  return value
}

// Integers that a double cannot hold are refused here and rounded there.
const isExact = (text: string) =>
  (text.match(/-?\d+(?![\d.eE])/g) ?? []).every(n => Math.abs(Number(n)) < 2 ** 53)

test('any JSON value is read as JSON.parse reads it', t => {
  let compared = 0
  fc.assert(
    fc.property(fc.json({ stringUnit: 'binary', maxDepth: 5 }), text => {
      // An own __proto__ would be lost in the comparison.
      if (text.includes('__proto__') || !isExact(text)) return
      if (!isDeepStrictEqual(plain(parseJson(text, { source })), JSON.parse(text))) t.fail(text)
      ++compared
    }),
    { numRuns: 2000, seed: 3 },
  )
  t.true(compared > 1000)
})

test('any text that JSON.parse refuses is refused, as a ModelFileError', t => {
  let refused = 0
  const text = fc.array(fc.constantFrom(...'{}[]",:\\u0019.-+eE tfn\n', 'true', 'null', '"a"', '12'), {
    maxLength: 12,
  })
  fc.assert(
    fc.property(text, parts => {
      const joined = parts.join('')
      let expected: unknown
      try {
        expected = JSON.parse(joined)
      } catch {
        ++refused
        t.throws(() => parseJson(joined, { source }), { instanceOf: ModelFileError }, joined)
        return
      }
      try {
        if (!isDeepStrictEqual(plain(parseJson(joined, { source })), expected)) t.fail(joined)
      } catch (error) {
        // Only what is stricter here on purpose.
        t.true(ModelFileError.isInstance(error), joined)
        t.regex((error as Error).message, /duplicate key|beyond 2\^53|too large|surrogate|400 characters/)
      }
    }),
    { numRuns: 20_000, seed: 5 },
  )
  t.true(refused > 10_000)
})

test('duplicate keys are named, with line and column', t => {
  const error = t.throws(() => parseJson('{\n  "a": {"x": 1,\n    "x": 2}}', { source }), {
    instanceOf: ModelFileError,
  })
  t.is(error?.message, 'x.json:3:5: duplicate key "x"')
  t.is(
    t.throws(() => parseJson('{"é": tru}', { source }))?.message,
    'x.json:1:7: expected a value, got "tru"',
  )
})

test('numbers beyond what a double holds are refused', t => {
  t.is(parseJson('9007199254740991', { source }), 2 ** 53 - 1)
  for (const text of [
    '9007199254740992',
    '9007199254740993',
    '-9007199254740993',
    '123456789012345678901',
    '1e400',
  ]) {
    t.throws(() => parseJson(text, { source }), { instanceOf: ModelFileError }, text)
  }
  t.is(parseJson('1e300', { source }), 1e300)
  t.is(parseJson('-0.5E-3', { source }), -0.5e-3)
})

test('depth is capped before the stack is', t => {
  t.notThrows(() => parseJson(`${'['.repeat(64)}${']'.repeat(64)}`, { source }))
  for (const text of ['['.repeat(65), '{"a":'.repeat(1e6), '['.repeat(1e6)]) {
    t.throws(() => parseJson(text, { source }), { message: /nested deeper than 64/ })
  }
})

test('names that reach a prototype are names like any other', t => {
  const value = parseJsonObject('{"__proto__": {"polluted": 1}, "constructor": 2}', { source })
  t.true(value instanceof Map && value.has('__proto__'))
  t.is(({} as Record<string, unknown>).polluted, undefined)
})

test('bytes must be UTF-8; the class of the error is the caller’s', t => {
  t.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22), { source }), { message: /not UTF-8/ })
  t.throws(() => parseJson('[', { source, error: message => new DataError(message) }), {
    instanceOf: DataError,
  })
  t.throws(() => parseJsonObject('[]', { source }), {
    message: 'x.json: expected a JSON object, got an array of 0',
  })
})

test('fields are checked by name', t => {
  const text = '{"n": 3, "f": 0.5, "s": "x", "b": true, "o": {"n": -1}, "z": null}'
  const fields = new JsonFields(parseJsonObject(text, { source }), source)
  t.is(fields.integer('n', 1, 3), 3)
  t.is(fields.number('f', 0), 0.5)
  t.is(fields.string('s'), 'x')
  t.true(fields.boolean('b'))
  t.false(fields.has('z'))
  for (const [read, says] of [
    [() => fields.integer('n', 4, 9), 'x.json: n: expected an integer from 4 to 9, got 3'],
    [() => fields.integer('f', 0, 9), 'x.json: f: expected an integer from 0 to 9, got 0.5'],
    [() => fields.integer('missing', 0, 9), 'got undefined'],
    [() => fields.fields('o').integer('n', 0, 9), 'x.json: o.n: '],
    [() => fields.number('f', 0.5), 'above 0.5'],
    [() => fields.number('n', 0, 2), 'at most 2'],
    [() => fields.string('n'), 'a string'],
    [() => fields.boolean('s'), 'true or false'],
    [() => fields.fields('n'), 'an object'],
  ] as const) {
    const error = t.throws(read, { instanceOf: ModelFileError })
    t.true(error?.message.includes(says), error?.message)
  }
})
