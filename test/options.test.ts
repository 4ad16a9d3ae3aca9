import test from 'ava'
import { ConfigError } from '../lib/errors.js'
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  checkSignal,
  checkString,
  describeValue,
  nearestName,
} from '../lib/options.js'

const known = ['learningRate', 'maxGradNorm', 'weightDecay', 'betas', 'gamma'] as const

test('the nearest name is the one that was meant', t => {
  for (const [name, meant] of [
    ['learningrate', 'learningRate'],
    ['learning_rate', 'learningRate'],
    ['learnignRate', 'learningRate'],
    ['max-grad-norm', 'maxGradNorm'],
    ['gama', 'gamma'],
    ['beta', 'betas'],
    ['weigthDecay', 'weightDecay'],
    ['temperature', undefined],
    ['x'.repeat(100_000), undefined],
    ['', undefined],
  ] as const) {
    t.is(nearestName(name, known), meant, name.slice(0, 20))
  }
})

test('an unknown option is a ConfigError that names the nearest', t => {
  const error = t.throws(() => checkOptions({ gama: 1 }, 'objective', known), { instanceOf: ConfigError })
  t.is(error?.message, 'objective: unknown option "gama"; did you mean "gamma"?')
  t.deepEqual(error?.details, { option: 'gama', nearest: 'gamma', where: 'objective' })
  t.throws(() => checkOptions({ temperature: 1 }, 'optimizer', known), {
    message: /known: learningRate, maxGrad/,
  })
})

test('known options are copied, undefined ones left out, prototypes never reached', t => {
  const checked = checkOptions({ gamma: 0.1, betas: undefined }, 'x', known)
  t.is(Object.getPrototypeOf(checked), null)
  t.deepEqual({ ...checked }, { gamma: 0.1 })
  t.deepEqual({ ...checkOptions(undefined, 'x', known) }, {})
  for (const name of ['__proto__', 'constructor', 'prototype']) {
    const hostile: unknown = JSON.parse(`{"${name}": {"polluted": true}}`)
    t.throws(() => checkOptions(hostile, 'x', [...known, name]), {
      instanceOf: ConfigError,
      message: /not allowed/,
    })
  }
  t.is(({} as Record<string, unknown>).polluted, undefined)
  for (const value of [null, 3, 'gamma', [], new Float32Array(2), () => 1]) {
    t.throws(() => checkOptions(value, 'x', known), {
      instanceOf: TypeError,
      message: /^x: expected an options object/,
    })
  }
})

test('numbers: the wrong type is a TypeError, the wrong value a RangeError, with what came', t => {
  t.is(checkNumber(0.5, 'x', { min: 0, max: 1 }), 0.5)
  for (const [value, range, says] of [
    [Number.NaN, {}, 'x: expected a finite number, got NaN'],
    [Number.POSITIVE_INFINITY, {}, 'x: expected a finite number, got Infinity'],
    [-1, { min: 0 }, 'x: expected a finite number of at least 0, got -1'],
    [0, { above: 0 }, 'x: expected a finite number above 0, got 0'],
    [1, { above: 0, below: 1 }, 'x: expected a finite number above 0 and below 1, got 1'],
    [2, { min: 0, max: 1 }, 'x: expected a finite number from 0 to 1, got 2'],
    [2, { max: 1 }, 'x: expected a finite number of at most 1, got 2'],
  ] as const) {
    t.throws(() => checkNumber(value, 'x', range), { instanceOf: RangeError, message: says })
  }
  t.throws(() => checkNumber('3', 'x'), { instanceOf: TypeError, message: 'x: expected a number, got "3"' })
})

test('integers: nothing is rounded or wrapped', t => {
  t.is(checkInteger(2 ** 53 - 1, 'n'), 2 ** 53 - 1)
  t.is(checkInteger(-3, 'n', { min: -5 }), -3)
  for (const value of [Number.NaN, -1, 3.9, 2 ** 53, Number.POSITIVE_INFINITY]) {
    t.throws(() => checkInteger(value, 'n'), {
      instanceOf: RangeError,
      message: /^n: expected an integer of at least 0/,
    })
  }
  t.throws(() => checkInteger(2 ** 32 + 5, 'n', { max: 2 ** 32 }), { instanceOf: RangeError })
  for (const value of [5n, '5', null, [5], new Int32Array(1)]) {
    t.throws(() => checkInteger(value, 'n'), { instanceOf: TypeError })
  }
})

test('words, switches, strings and signals', t => {
  t.is(checkChoice('sqrt', 'kind', ['none', 'sqrt']), 'sqrt')
  t.throws(() => checkChoice('sqrrt', 'kind', ['none', 'sqrt']), {
    instanceOf: RangeError,
    message: 'kind: expected one of "none", "sqrt", got "sqrrt"; did you mean "sqrt"?',
  })
  t.throws(() => checkChoice(1, 'kind', ['none']), { instanceOf: TypeError })
  t.true(checkBoolean(true, 'b'))
  t.throws(() => checkBoolean(0, 'b'), { instanceOf: TypeError, message: 'b: expected true or false, got 0' })
  t.is(checkString('', 's'), '')
  t.throws(() => checkString(undefined, 's'), { instanceOf: TypeError })
  const { signal } = new AbortController()
  t.is(checkSignal(signal, 'signal'), signal)
  t.is(checkSignal(undefined, 'signal'), undefined)
  t.throws(() => checkSignal({ aborted: true }, 'signal'), { instanceOf: TypeError })
})

test('what came is described in few words', t => {
  for (const [value, says] of [
    [-0, '-0'],
    [5n, 'the BigInt 5n'],
    [10n ** 500n, /^the BigInt 10{36}\.\.\.n$/],
    ['x'.repeat(1e6), /^"x{57}\.\.\."$/],
    [[1, 2], 'an array of 2'],
    [new Float32Array(3), 'a Float32Array of 3'],
    [new DataView(new ArrayBuffer(8)), 'a DataView of 8'],
    [new Map(), 'a Map'],
    [{}, 'an object'],
    [Symbol('x'), 'a symbol'],
    [() => 1, 'a function'],
  ] as const) {
    const text = describeValue(value)
    if (typeof says === 'string') t.is(text, says)
    else t.regex(text, says)
  }
})
