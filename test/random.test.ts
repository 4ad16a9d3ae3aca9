// The known answers are those of the Random123 library (kat_vectors, philox4x32 10); the second implementation below
// uses 64-bit integers and none of the code under test.
import test from 'ava'
import { CounterRandom, fillNormal, philox, seedWords, streamWord, uniform } from '../lib/random.js'

type Words = [number, number, number, number]

const KNOWN_ANSWERS: { key: [number, number]; counter: Words; words: Words }[] = [
  { key: [0, 0], counter: [0, 0, 0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    key: [0xffffffff, 0xffffffff],
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    key: [0xa4093822, 0x299f31d0],
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
]

test('Philox gives the known answers', t => {
  for (const { key, counter, words } of KNOWN_ANSWERS) {
    t.deepEqual([...philox(...key, ...counter, new Uint32Array(4))], words)
  }
})

function referencePhilox(key: readonly bigint[], counter: readonly bigint[]): bigint[] {
  const mask = 0xffffffffn
  let [k0, k1] = key as [bigint, bigint]
  let [a, b, c, d] = counter as [bigint, bigint, bigint, bigint]
  for (let round = 0; round < 10; round++) {
    const p = 0xd2511f53n * a
    const q = 0xcd9e8d57n * c
    ;[a, b, c, d] = [(q >> 32n) ^ b ^ k0, q & mask, (p >> 32n) ^ d ^ k1, p & mask]
    k0 = (k0 + 0x9e3779b9n) & mask
    k1 = (k1 + 0xbb67ae85n) & mask
  }
  return [a, b, c, d]
}

test('Philox equals an implementation in 64-bit integers on edge words', t => {
  const edges = [0, 1, 0x7fffffff, 0x80000000, 0xffff0000, 0x0000ffff, 0xffffffff, 0x9e3779b9]
  for (let i = 0; i < 2000; i++) {
    const words = Array.from(
      { length: 6 },
      (_, j) => edges[(i * (j + 3) + (i >> j)) % edges.length] as number,
    )
    const [k0, k1, a, b, c, d] = words as [number, number, number, number, number, number]
    const expected = referencePhilox([k0, k1].map(BigInt), [a, b, c, d].map(BigInt)).map(Number)
    t.deepEqual([...philox(k0, k1, a, b, c, d, new Uint32Array(4))], expected)
  }
})

test('a sequence walks the blocks of its counter', t => {
  const seed = 2 ** 40 + 5
  const random = new CounterRandom(seed, 'a stream', 3, 9)
  const [low, high] = seedWords(seed)
  t.deepEqual([low, high], [5, 256])
  const expected = [0, 1, 2].flatMap(block => [
    ...philox(low, high, block, 3, 9, streamWord('a stream'), new Uint32Array(4)),
  ])
  t.deepEqual(
    expected.map(() => random.uint32()),
    expected,
  )
})

test('sequences of other seeds, streams and counters differ', t => {
  const first = (...name: ConstructorParameters<typeof CounterRandom>) => new CounterRandom(...name).uint32()
  const words = [
    first(0, 'a'),
    first(1, 'a'),
    first(0, 'b'),
    first(0, 'a', 1),
    first(0, 'a', 0, 1),
    first(2 ** 32, 'a'),
  ]
  t.is(new Set(words).size, words.length)
})

test('uniform numbers have 53 bits and stay below 1', t => {
  t.is(uniform(0, 0), 0)
  t.is(uniform(0xffffffff, 0xffffffff), 1 - 2 ** -53)
  t.is(uniform(0x80000000, 0), 0.5)
  t.is(uniform(0, 1 << 11), 2 ** -53)
})

test('integers are equally likely, normal numbers have mean 0 and variance 1, shuffles reach every order', t => {
  const random = new CounterRandom(1, 'distributions')
  const counts = new Array<number>(7).fill(0)
  for (let i = 0; i < 70_000; i++) {
    const drawn = random.integer(7)
    counts[drawn] = (counts[drawn] ?? 0) + 1
  }
  // 6 degrees of freedom: above 22.5 once in a thousand.
  t.true(counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0) < 22.5)

  const normals = Array.from({ length: 40_000 }, () => random.normal())
  const mean = normals.reduce((sum, x) => sum + x, 0) / normals.length
  const variance = normals.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normals.length
  const kurtosis = normals.reduce((sum, x) => sum + (x - mean) ** 4, 0) / normals.length / variance ** 2
  t.true(Math.abs(mean) < 5 / Math.sqrt(normals.length))
  t.true(Math.abs(variance - 1) < 5 * Math.sqrt(2 / normals.length))
  t.true(Math.abs(kurtosis - 3) < 5 * Math.sqrt(24 / normals.length))

  const orders = new Map<string, number>()
  for (let i = 0; i < 6000; i++) {
    const order = random.shuffle([0, 1, 2]).join('')
    orders.set(order, (orders.get(order) ?? 0) + 1)
  }
  t.is(orders.size, 6)
  for (const count of orders.values()) t.true(Math.abs(count - 1000) < 5 * Math.sqrt(1000 * (5 / 6)))
})

test('filled normal numbers depend on their position alone, and have the deviation asked for', t => {
  const counter = { seed: 4, stream: 1, purpose: 2 }
  const whole = new Float32Array(4099)
  fillNormal(whole, 0.02, counter)
  const part = new Float32Array(99)
  fillNormal(part, 0.02, { ...counter, start: 4000 })
  t.deepEqual([...part], [...whole.subarray(4000)])
  const deviation = Math.sqrt(whole.reduce((sum, x) => sum + x * x, 0) / whole.length)
  t.true(Math.abs(deviation / 0.02 - 1) < 5 / Math.sqrt(2 * whole.length))
})

test('wrong arguments are named', t => {
  t.throws(() => new CounterRandom(-1, 'a'), { instanceOf: RangeError, message: /^seed: .* got -1$/ })
  t.throws(() => new CounterRandom(0.5, 'a'), { instanceOf: RangeError, message: /^seed: / })
  t.throws(() => new CounterRandom(0, 2 ** 32), { instanceOf: RangeError, message: /^stream: / })
  t.throws(() => new CounterRandom(0, 'a', -1), { instanceOf: RangeError, message: /^index: / })
  t.throws(() => new CounterRandom(0, 'a').integer(0), { instanceOf: RangeError, message: /^n: / })
})
