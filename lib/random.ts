// Random numbers from a counter: Philox 4x32-10, the numbers of native/core/random.h, word for word.
// There is no generator to save: the same seed, stream and counter give the same numbers in every run, so resuming
// needs numbers alone. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

const MULTIPLIER_A = 0xd2511f53
const MULTIPLIER_B = 0xcd9e8d57
const WEYL_A = 0x9e3779b9
const WEYL_B = 0xbb67ae85

/** Upper 32 bits of the 64-bit product of two 32-bit words. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const carry = (middle & 0xffff) + aLow * bHigh
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0
}

/**
 * Four random 32-bit words for a key (two words, low first) and a counter (four words). Every word is taken modulo
 * 2^32. The result goes to `out` (length 4), which is returned.
 */
export function philox(
  keyLow: number,
  keyHigh: number,
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  out: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let k0 = keyLow >>> 0
  let k1 = keyHigh >>> 0
  let w0 = c0 >>> 0
  let w1 = c1 >>> 0
  let w2 = c2 >>> 0
  let w3 = c3 >>> 0
  for (let round = 0; round < 10; round++) {
    const highA = multiplyHigh(MULTIPLIER_A, w0)
    const highB = multiplyHigh(MULTIPLIER_B, w2)
    const lowA = Math.imul(MULTIPLIER_A, w0)
    const lowB = Math.imul(MULTIPLIER_B, w2)
    w0 = (highB ^ w1 ^ k0) >>> 0
    w1 = lowB >>> 0
    w2 = (highA ^ w3 ^ k1) >>> 0
    w3 = lowA >>> 0
    k0 = (k0 + WEYL_A) >>> 0
    k1 = (k1 + WEYL_B) >>> 0
  }
  out[0] = w0
  out[1] = w1
  out[2] = w2
  out[3] = w3
  return out
}

/** A number in [0, 1) from two words (53 bits), as `uniform` in native/core/random.h. */
export function uniform(high: number, low: number): number {
  return ((high >>> 0) * 0x200000 + (low >>> 11)) * 2 ** -53
}

/** The two 32-bit words (low, high) of a seed. Throws RangeError unless it is a safe integer of at least 0. */
export function seedWords(seed: number): [low: number, high: number] {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`seed: expected an integer from 0 to ${Number.MAX_SAFE_INTEGER}, got ${seed}`)
  }
  return [seed >>> 0, Math.floor(seed / 0x100000000)]
}

/** The word of a stream's name (FNV-1a over its UTF-16 units): streams of one seed that have different names differ. */
export function streamWord(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/**
 * A sequence of random numbers that is a function of (seed, stream, index, subIndex) and of nothing else.
 * Make one per thing that is drawn: `new CounterRandom(seed, 'prompts', step)`. Streams are names or 32-bit words;
 * index and subIndex are integers from 0 to 2^32 - 1. A sequence has 2^34 words.
 */
export class CounterRandom {
  readonly #key: [number, number]
  readonly #stream: number
  readonly #index: number
  readonly #subIndex: number
  readonly #words = new Uint32Array(4)
  #block = 0
  #next = 4

  constructor(seed: number, stream: number | string, index = 0, subIndex = 0) {
    this.#key = seedWords(seed)
    this.#stream = typeof stream === 'string' ? streamWord(stream) : word(stream, 'stream')
    this.#index = word(index, 'index')
    this.#subIndex = word(subIndex, 'subIndex')
  }

  /** The next 32 random bits. */
  uint32(): number {
    if (this.#next === 4) {
      philox(this.#key[0], this.#key[1], this.#block, this.#index, this.#subIndex, this.#stream, this.#words)
      this.#block++
      this.#next = 0
    }
    return this.#words[this.#next++] as number
  }

  /** A number in [0, 1), 53 bits. Takes two words. */
  uniform(): number {
    const high = this.uint32()
    return uniform(high, this.uint32())
  }

  /** An integer in [0, n), each equally likely (biased remainders are drawn again). n is from 1 to 2^32. */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 0x100000000) {
      throw new RangeError(`n: expected an integer from 1 to 2^32, got ${n}`)
    }
    const limit = 0x100000000 - (0x100000000 % n)
    let drawn = this.uint32()
    while (drawn >= limit) drawn = this.uint32()
    return drawn % n
  }

  /** An integer from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.integer(high - low + 1)
  }

  /** True with probability p. Takes two words whatever p is. */
  chance(p: number): boolean {
    return this.uniform() < p
  }

  /** A standard normal number (Box and Muller). Takes four words. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    return radius * Math.cos(2 * Math.PI * this.uniform())
  }

  /** One of the items, each equally likely. Throws RangeError when there is none. */
  pick<T>(items: ArrayLike<T>): T {
    return items[this.integer(items.length)] as T
  }

  /** Shuffles in place (Fisher and Yates), every order equally likely; returns the same array. */
  shuffle<T extends { [index: number]: unknown; length: number }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1)
      const held = items[i]
      items[i] = items[j]
      items[j] = held
    }
    return items
  }
}

// Natural numbers are mapped into (0, 1), so that the logarithm below is finite.
function openUniform(word: number): number {
  return (word + 0.5) * 2 ** -32
}

/**
 * Fills `target` with normal numbers of mean 0 and the given deviation (Box-Muller, four per counter value).
 * Element i depends on the seed, the stream and `start + i` alone, where `start` is a multiple of 4.
 */
export function fillNormal(
  target: Float32Array,
  deviation: number,
  counter: { seed: number; stream: number; purpose: number; start?: number },
): void {
  const [keyLow, keyHigh] = seedWords(counter.seed)
  const firstBlock = (counter.start ?? 0) / 4
  const words = new Uint32Array(4)
  for (let i = 0; i < target.length; i += 4) {
    const block = firstBlock + i / 4
    const high = Math.floor(block / 0x100000000) >>> 0
    philox(keyLow, keyHigh, block >>> 0, high, counter.stream, counter.purpose, words)
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log(openUniform(words[pair]!)))
      const angle = 2 * Math.PI * openUniform(words[pair + 1]!)
      // Stores past the end of a typed array do nothing.
      target[i + pair] = radius * Math.cos(angle)
      target[i + pair + 1] = radius * Math.sin(angle)
    }
  }
}

function word(value: number, name: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new RangeError(`${name}: expected an integer from 0 to 2^32 - 1, got ${value}`)
  }
  return value
}
