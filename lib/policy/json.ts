// A strict JSON reader for files that nobody vouches for: headers, indexes and configurations of models.
// Unlike JSON.parse it refuses duplicate keys, caps the depth, never builds an object with a prototype, and says line
// and column. `JsonReader` hands out one value at a time, so a caller can refuse a wrong one before reading on: memory
// grows with what is accepted, not with what the file holds.
import { isUtf8 } from 'node:buffer'
import { type LuffyError, ModelFileError } from '../errors.js'
import { describeValue } from '../options.js'

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject
/** Keys in the order of the file; a Map, so that `__proto__` is a name like any other. */
export type JsonObject = Map<string, JsonValue>

export interface JsonOptions {
  /** The file's name or path, for messages. */
  source: string
  /** Nested arrays and objects allowed; 64 by default. */
  maxDepth?: number
  /** The error to throw; ModelFileError by default. */
  error?: (message: string) => LuffyError
}

/** The value of a whole text. Numbers are finite; duplicate keys and everything outside RFC 8259 are refused. */
export function parseJson(text: Uint8Array | string, options: JsonOptions): JsonValue {
  const reader = new JsonReader(text, options)
  const value = reader.readValue()
  reader.end()
  return value
}

/** The same, for a text that must be one object. */
export function parseJsonObject(text: Uint8Array | string, options: JsonOptions): JsonObject {
  const value = parseJson(text, options)
  if (value instanceof Map) return value
  const fail = options.error ?? (message => new ModelFileError(message))
  throw fail(`${options.source}: expected a JSON object, got ${describeValue(value)}`)
}

/** A phrase of a message; a function where making it costs more than reading the value. */
export type Wording = string | (() => string)

function worded(wording: Wording): string {
  return typeof wording === 'string' ? wording : wording()
}

export class JsonReader {
  readonly #bytes: Buffer
  readonly #source: string
  readonly #maxDepth: number
  readonly #error: (message: string) => LuffyError
  #at = 0
  #depth = 0

  constructor(text: Uint8Array | string, options: JsonOptions) {
    this.#bytes =
      typeof text === 'string'
        ? Buffer.from(text)
        : Buffer.from(text.buffer, text.byteOffset, text.byteLength)
    this.#source = options.source
    this.#maxDepth = options.maxDepth ?? 64
    this.#error = options.error ?? (message => new ModelFileError(message))
    if (typeof text !== 'string' && !isUtf8(this.#bytes)) throw this.#error(`${this.#source}: not UTF-8`)
    if (this.#bytes[0] === 0xef && this.#bytes[1] === 0xbb && this.#bytes[2] === 0xbf) {
      this.fail('begins with a byte order mark')
    }
    this.#skipSpace()
  }

  /** Throws the caller's error with the place in the text. */
  fail(problem: string, at = this.#at): never {
    const before = this.#bytes.subarray(0, at)
    let line = 1
    for (let i = before.indexOf(10); i >= 0; i = before.indexOf(10, i + 1)) ++line
    // A line of a hostile text may be very long; its characters are counted only where that is cheap.
    const lineStart = before.lastIndexOf(10) + 1
    const column = 1 + (at - lineStart > 1e6 ? at - lineStart : before.toString('utf8', lineStart).length)
    throw this.#error(`${this.#source}:${line}:${column}: ${problem}`)
  }

  /** The place of the next value, for `fail`. */
  get position(): number {
    return this.#at
  }

  /** Calls `member` with each key; it must read the value. Returns the number of members. */
  readObject(member: (key: string, at: number) => void): number {
    this.#open(0x7b, 'an object')
    const keys = new Set<string>()
    if (this.#bytes[this.#at] !== 0x7d) {
      do {
        this.#skipSpace()
        const at = this.#at
        const key = this.readString('a key in double quotes')
        if (keys.has(key)) this.fail(`duplicate key ${describeValue(key)}`, at)
        keys.add(key)
        if (this.#bytes[this.#at] !== 0x3a) this.fail(`expected ":" after a key, got ${this.#found()}`)
        this.#advance()
        member(key, this.#at)
      } while (this.#comma(0x7d, 'an object'))
    }
    this.#close()
    return keys.size
  }

  /** Calls `element` with each index; it must read the value. Returns the length. */
  readArray(element: (index: number) => void): number {
    this.#open(0x5b, 'an array')
    let length = 0
    if (this.#bytes[this.#at] !== 0x5d) {
      do {
        this.#skipSpace()
        element(length++)
      } while (this.#comma(0x5d, 'an array'))
    }
    this.#close()
    return length
  }

  readString(expected: Wording = 'a string'): string {
    const bytes = this.#bytes
    if (bytes[this.#at] !== 0x22) this.fail(`expected ${worded(expected)}, got ${this.#found()}`)
    const start = this.#at + 1
    let escaped = false
    let end = start
    for (; ; ++end) {
      const byte = bytes[end]
      if (byte === 0x22) break
      if (byte === undefined) this.fail('the text ends inside a string', start - 1)
      if (byte < 0x20) this.fail('a control character stands unescaped in a string', end)
      if (byte === 0x5c) {
        escaped = true
        ++end
      }
    }
    this.#at = end
    this.#advance()
    const text = bytes.toString('utf8', start, end)
    return escaped ? this.#unescape(text, start) : text
  }

  /** An integer from 0 to 2^53 - 1, written as digits alone. */
  readUnsigned(what: Wording): number {
    const at = this.#at
    const token = this.#numberToken(what)
    if (!/^\d+$/.test(token))
      this.fail(`${worded(what)}: expected an integer of at least 0, got ${token.slice(0, 40)}`, at)
    const value = Number(token)
    if (!Number.isSafeInteger(value)) {
      this.fail(`${worded(what)}: expected an integer below 2^53, got ${token.slice(0, 40)}`, at)
    }
    return value
  }

  /** Any value. An integer that a double cannot hold is refused rather than rounded. */
  readValue(): JsonValue {
    switch (this.#bytes[this.#at]) {
      case 0x7b: {
        const object: JsonObject = new Map()
        this.readObject(key => object.set(key, this.readValue()))
        return object
      }
      case 0x5b: {
        const array: JsonValue[] = []
        this.readArray(() => array.push(this.readValue()))
        return array
      }
      case 0x22:
        return this.readString()
      case 0x74:
        return this.#word('true', true)
      case 0x66:
        return this.#word('false', false)
      case 0x6e:
        return this.#word('null', null)
      default:
        return this.#readNumber()
    }
  }

  /** Nothing but white space may follow the value. */
  end(): void {
    if (this.#at < this.#bytes.length) this.fail(`expected the end of the text, got ${this.#found()}`)
  }

  #readNumber(): number {
    const at = this.#at
    const token = this.#numberToken('a value')
    const value = Number(token)
    if (!Number.isFinite(value)) this.fail(`the number ${token.slice(0, 40)} is too large`, at)
    if (Math.abs(value) > Number.MAX_SAFE_INTEGER && /^-?\d+$/.test(token)) {
      this.fail(`the integer ${token.slice(0, 40)} is beyond 2^53`, at)
    }
    return value
  }

  #numberToken(what: Wording): string {
    const bytes = this.#bytes
    const start = this.#at
    let end = start
    while (isNumberByte(bytes[end])) ++end
    if (end === start)
      this.fail(
        `expected ${what === 'a value' ? what : `a number for ${worded(what)}`}, got ${this.#found()}`,
      )
    if (end - start > 400) this.fail('a number of more than 400 characters')
    const token = bytes.toString('latin1', start, end)
    if (!/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(token)) {
      this.fail(`not a JSON number: ${token.slice(0, 40)}`)
    }
    this.#at = end
    this.#skipSpace()
    return token
  }

  #word<Value>(word: string, value: Value): Value {
    if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) !== word) {
      this.fail(`expected a value, got ${this.#found()}`)
    }
    this.#at += word.length
    this.#skipSpace()
    return value
  }

  #unescape(text: string, start: number): string {
    const problem = 'a wrong escape in a string'
    const plain = text.replace(/\\(?:u([0-9a-fA-F]{4})|(.)|$)/gs, (_, hex?: string, letter?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
      return escapes.get(letter ?? '') ?? this.fail(problem, start)
    })
    if (loneSurrogate.test(plain)) this.fail('half of a surrogate pair in a string', start)
    return plain
  }

  #open(bracket: number, what: string): void {
    if (this.#bytes[this.#at] !== bracket) this.fail(`expected ${what}, got ${this.#found()}`)
    if (++this.#depth > this.#maxDepth) this.fail(`nested deeper than ${this.#maxDepth}`)
    this.#advance()
  }

  #close(): void {
    --this.#depth
    this.#advance()
  }

  // True after a comma, false before the closing bracket.
  #comma(bracket: number, what: string): boolean {
    const byte = this.#bytes[this.#at]
    if (byte === bracket) return false
    if (byte !== 0x2c) this.fail(`expected "," or the end of ${what}, got ${this.#found()}`)
    this.#advance()
    return true
  }

  #advance(): void {
    ++this.#at
    this.#skipSpace()
  }

  #skipSpace(): void {
    const bytes = this.#bytes
    let at = this.#at
    for (;;) {
      const byte = bytes[at]
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break
      ++at
    }
    this.#at = at
  }

  #found(): string {
    if (this.#at >= this.#bytes.length) return 'the end of the text'
    const text = this.#bytes.toString('utf8', this.#at, this.#at + 24)
    const word = /^(?:[\w.+-]{1,20}|.)/su.exec(text)?.[0] ?? text
    return JSON.stringify(word)
  }
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

const loneSurrogate = /\p{Surrogate}/u

function isNumberByte(byte: number | undefined): boolean {
  if (byte === undefined) return false
  if (byte >= 0x30 && byte <= 0x39) return true
  // + - . E e
  return byte === 0x2b || byte === 0x2d || byte === 0x2e || byte === 0x45 || byte === 0x65
}

/** Path-like access with checks for configurations: each `get` names the file and the key in its error. */
export class JsonFields {
  constructor(
    readonly object: JsonObject,
    readonly source: string,
    readonly prefix = '',
  ) {}

  fail(key: string, expected: string): never {
    throw new ModelFileError(
      `${this.source}: ${this.prefix}${key}: expected ${expected}, got ${describeValue(this.object.get(key))}`,
      { details: { key: `${this.prefix}${key}` } },
    )
  }

  /** A key that is missing and one that is null are the same here, as in Python's configurations. */
  has(key: string): boolean {
    return (this.object.get(key) ?? null) !== null
  }

  integer(key: string, min: number, max: number): number {
    const value = this.object.get(key)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      this.fail(key, `an integer from ${min} to ${max}`)
    }
    return value
  }

  /** A finite number above `above`, and at most `max`. */
  number(key: string, above: number, max = Number.MAX_VALUE): number {
    const value = this.object.get(key)
    if (typeof value !== 'number' || !(value > above) || value > max) {
      this.fail(key, `a finite number above ${above}${max === Number.MAX_VALUE ? '' : ` and at most ${max}`}`)
    }
    return value
  }

  string(key: string): string {
    const value = this.object.get(key)
    if (typeof value !== 'string') this.fail(key, 'a string')
    return value
  }

  boolean(key: string): boolean {
    const value = this.object.get(key)
    if (typeof value !== 'boolean') this.fail(key, 'true or false')
    return value
  }

  fields(key: string): JsonFields {
    const value = this.object.get(key)
    if (!(value instanceof Map)) this.fail(key, 'an object')
    return new JsonFields(value, this.source, `${this.prefix}${key}.`)
  }
}
