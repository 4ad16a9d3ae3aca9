// A tokenizer with one token per character, for the small tasks that luffy makes itself.
// It is saved as a Hugging Face tokenizer.json (a WordLevel model over a Split into characters), so that other tools
// read the checkpoint; loading accepts exactly what saving writes, and names the first difference otherwise.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TokenizerError } from '../errors.js'
import { writeFileDurable } from '../io/atomic.js'
import { checkArray, checkString, describeValue } from '../options.js'

/** What the sampler, the data readers and the command need of a tokenizer. */
export interface Tokenizer {
  /** Number of ids: every id is from 0 to vocabSize - 1. */
  readonly vocabSize: number
  /** The token that ends a response: it is added to demonstrations. */
  readonly endId: number
  /** Every token that ends a sampled response, `endId` among them. */
  readonly endIds: readonly number[]
  /** Ids of a text. Throws TokenizerError naming the first character that has no token, and its position. */
  encode(text: string): Int32Array
  /** Text of ids, special tokens included. Throws RangeError naming the position and the id that is out of range. */
  decode(ids: ArrayLike<number>): string
  /** Writes tokenizer.json and what belongs to it into an existing folder. */
  save(folder: string): Promise<void>
}

export class CharacterTokenizer implements Tokenizer {
  readonly characters: readonly string[]
  readonly endId: number
  readonly endIds: readonly number[]
  readonly #ids: ReadonlyMap<string, number>

  /**
   * `characters`: the vocabulary, an id being a character's position (code points, all different, no lone surrogates).
   * `end`: the character that ends a response; it must be one of them.
   */
  constructor(characters: string | readonly string[], end: string) {
    if (typeof characters !== 'string') {
      for (const [i, character] of checkArray(characters, 'characters', 'a string or an array').entries()) {
        checkString(character, `characters[${i}]`)
      }
    }
    this.characters = Object.freeze([...characters])
    this.#ids = new Map(this.characters.map((character, id) => [character, id]))
    for (const character of this.characters) {
      if ([...character].length !== 1 || isLoneSurrogate(character)) {
        throw new TokenizerError(`characters: expected single characters, got ${JSON.stringify(character)}`)
      }
    }
    if (this.#ids.size !== this.characters.length) {
      const twice = this.characters.find((character, id) => this.#ids.get(character) !== id)
      throw new TokenizerError(`characters: ${JSON.stringify(twice)} stands twice in the vocabulary`)
    }
    const endId = this.#ids.get(end)
    if (endId === undefined) {
      throw new TokenizerError(`end: ${JSON.stringify(end)} is not in the vocabulary`)
    }
    this.endId = endId
    this.endIds = Object.freeze([endId])
  }

  get vocabSize(): number {
    return this.characters.length
  }

  encode(text: string): Int32Array {
    checkString(text, 'text')
    const ids: number[] = []
    for (const character of text) {
      const id = this.#ids.get(character)
      if (id === undefined) {
        throw new TokenizerError(
          `text: character ${JSON.stringify(character)} at position ${ids.length} has no token`,
          { hint: `the vocabulary is ${JSON.stringify(this.characters.join(''))}` },
        )
      }
      ids.push(id)
    }
    return Int32Array.from(ids)
  }

  decode(ids: ArrayLike<number>): string {
    if (typeof ids !== 'object' || ids === null) {
      throw new TypeError(`ids: expected an array of token ids, got ${describeValue(ids)}`)
    }
    let text = ''
    for (let i = 0; i < ids.length; i++) {
      const character = this.characters[ids[i] as number]
      if (character === undefined) {
        throw new RangeError(`ids[${i}]: expected an integer from 0 to ${this.vocabSize - 1}, got ${ids[i]}`)
      }
      text += character
    }
    return text
  }

  /** The content of tokenizer.json. */
  toJson(): Record<string, unknown> {
    return {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [
        {
          id: this.endId,
          content: this.characters[this.endId],
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: true,
        },
      ],
      normalizer: null,
      // [\s\S] and not a dot, which would drop line breaks.
      pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
      post_processor: null,
      decoder: { type: 'Fuse' },
      // The unknown token is not in the vocabulary on purpose: an unknown character is an error, not a token.
      model: { type: 'WordLevel', vocab: Object.fromEntries(this.#ids), unk_token: '<unk>' },
    }
  }

  /** A tokenizer from the content of a tokenizer.json that `save` wrote; `source` names it in errors. */
  static fromJson(content: unknown, source = 'tokenizer.json'): CharacterTokenizer {
    const vocabulary = member(member(content, 'model'), 'vocab')
    const addedTokens = member(content, 'added_tokens')
    const end = Array.isArray(addedTokens) ? member(addedTokens[0], 'content') : undefined
    if (typeof vocabulary !== 'object' || vocabulary === null || typeof end !== 'string') {
      throw new TokenizerError(`${source}: not a character tokenizer`, { hint: notOurs })
    }
    const characters: string[] = []
    for (const [character, id] of Object.entries(vocabulary)) {
      if (
        !Number.isInteger(id) ||
        id < 0 ||
        id >= Object.keys(vocabulary).length ||
        characters[id] !== undefined
      ) {
        throw new TokenizerError(
          `${source}: model.vocab: id ${JSON.stringify(id)} of ${JSON.stringify(character)} ` +
            'is out of range or taken',
        )
      }
      characters[id] = character
    }
    const tokenizer = new CharacterTokenizer(characters, end)
    const difference = firstDifference(tokenizer.toJson(), content, '')
    if (difference !== undefined) throw new TokenizerError(`${source}: ${difference}`, { hint: notOurs })
    return tokenizer
  }

  async save(folder: string): Promise<void> {
    await writeFileDurable(join(folder, 'tokenizer.json'), `${JSON.stringify(this.toJson(), null, 2)}\n`)
    const config = {
      tokenizer_class: 'PreTrainedTokenizerFast',
      eos_token: this.characters[this.endId],
      clean_up_tokenization_spaces: false,
    }
    await writeFileDurable(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`)
  }

  /** Loads tokenizer.json of a folder. Throws TokenizerError when it is missing or is not what `save` writes. */
  static async load(folder: string): Promise<CharacterTokenizer> {
    const path = join(folder, 'tokenizer.json')
    let content: unknown
    try {
      content = JSON.parse(await readFile(path, 'utf8'))
    } catch (error) {
      throw new TokenizerError(`${path}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      })
    }
    return CharacterTokenizer.fromJson(content, path)
  }
}

const notOurs = 'Only tokenizers with one token per character, as luffy writes them, are read by this loader.'

function isLoneSurrogate(character: string): boolean {
  const unit = character.charCodeAt(0)
  return character.length === 1 && unit >= 0xd800 && unit <= 0xdfff
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Record<string, unknown>)[name]
}

/** Where two JSON values differ first, in words; undefined when they are equal (the order of members aside). */
function firstDifference(expected: unknown, actual: unknown, path: string): string | undefined {
  if (typeof expected !== 'object' || expected === null || typeof actual !== 'object' || actual === null) {
    if (expected === actual) return undefined
    return `${path || 'content'}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`
  }
  if (Array.isArray(expected) !== Array.isArray(actual))
    return `${path}: expected the other kind of container`
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const inner = path === '' ? name : `${path}.${name}`
    if (!Object.hasOwn(expected, name)) return `${inner}: not expected`
    if (!Object.hasOwn(actual, name)) return `${inner}: missing`
    const difference = firstDifference(member(expected, name), member(actual, name), inner)
    if (difference !== undefined) return difference
  }
  return undefined
}
