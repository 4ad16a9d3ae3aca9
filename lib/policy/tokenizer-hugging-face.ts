// A published tokenizer (byte-level BPE: Qwen 2 and 3, Llama 3): @huggingface/tokenizers gives the ids; bytes to text is
// done here, since ids are decoded one at a time and every one of them must come back as it was.
import { join } from 'node:path'
import { Tokenizer as Library } from '@huggingface/tokenizers'
import { TokenizerError } from '../errors.js'
import { writeFileDurable } from '../io/atomic.js'
import { describeValue } from '../options.js'
import { ChatTemplate } from './chat-template.js'
import { byteCharacters, type TokenizerContent } from './tokenizer-file.js'
import type { Tokenizer } from './tokenizer-simple.js'

export interface HuggingFaceTokenizerParts {
  content: TokenizerContent
  /** The token that ends a response, and every token that does. */
  endId: number
  endIds: readonly number[]
  /** bos_token, eos_token and others, for the chat template. */
  specialTokens: Readonly<Record<string, string>>
  template: ChatTemplate | undefined
  /** The files it came from, by name; `save` writes them. */
  files: ReadonlyMap<string, Uint8Array>
}

export class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabSize: number
  readonly endId: number
  readonly endIds: readonly number[]
  readonly specialTokens: Readonly<Record<string, string>>
  /** What makes a prompt of messages; undefined where the model has none. */
  readonly chatTemplate: ChatTemplate | undefined
  readonly #parts: HuggingFaceTokenizerParts
  readonly #library: Library
  /** By id; undefined where no token has it. */
  readonly #tokens: readonly (string | undefined)[]
  readonly #added: ReadonlySet<number>
  readonly #bytes: (Uint8Array | undefined)[] = []

  constructor(parts: HuggingFaceTokenizerParts, source: string) {
    const { content, endId, endIds, specialTokens, template } = parts
    this.#parts = parts
    this.vocabSize = content.vocabSize
    this.endId = endId
    this.endIds = Object.freeze([...new Set([endId, ...endIds])])
    this.specialTokens = specialTokens
    this.chatTemplate = template
    const tokens: (string | undefined)[] = new Array(content.vocabSize).fill(undefined)
    for (const [token, id] of content.vocabulary) tokens[id] = token
    for (const { id, content: token } of content.addedTokens) tokens[id] = token
    this.#tokens = tokens
    this.#added = new Set(content.addedTokens.map(token => token.id))
    try {
      // Its configuration asks for changes to texts that training must not see.
      this.#library = new Library(content.json, { clean_up_tokenization_spaces: false })
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new TokenizerError(`${source}: ${why}`, { path: source, cause: error })
    }
  }

  /**
   * Ids of a text. The text of a special token gives its id; nothing is added, unless `begin` asks for what the
   * tokenizer puts before a text (Llama's begin token).
   */
  encode(text: string, options: { begin?: boolean } = {}): Int32Array {
    if (typeof text !== 'string') throw new TypeError(`text: expected a string, got ${describeValue(text)}`)
    if (text === '') return new Int32Array(0)
    return Int32Array.from(this.#library.encode(text, { add_special_tokens: options.begin ?? false }).ids)
  }

  /**
   * Text of ids, special tokens included. Bytes that are not UTF-8 become U+FFFD. Ids without a token (a policy's
   * embeddings may be padded beyond its tokenizer) have no text.
   */
  decode(ids: ArrayLike<number>): string {
    const parts = Array.from(ids, (id, i) => this.tokenBytes(id, `ids[${i}]`))
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts))
  }

  /** Decodes ids one after the other, without ever splitting a character. */
  stream(): StreamingDecoder {
    return new StreamingDecoder(this)
  }

  /** The bytes that a token stands for. */
  tokenBytes(id: number, name = 'id'): Uint8Array {
    if (!Number.isSafeInteger(id) || id < 0) {
      throw new RangeError(`${name}: expected an integer of at least 0, got ${describeValue(id)}`)
    }
    if (id >= this.vocabSize) return noBytes
    let bytes = this.#bytes[id]
    if (bytes === undefined) {
      bytes = bytesOf(this.#tokens[id], this.#added.has(id))
      this.#bytes[id] = bytes
    }
    return bytes
  }

  /** The same tokenizer with another chat template, which `save` writes too. */
  withTemplate(text: string): HuggingFaceTokenizer {
    const template = new ChatTemplate(text, templateFileName, this.specialTokens)
    const files = new Map([...this.#parts.files].filter(([name]) => name !== 'chat_template.json'))
    files.set(templateFileName, Buffer.from(text))
    return new HuggingFaceTokenizer({ ...this.#parts, template, files }, templateFileName)
  }

  async save(folder: string): Promise<void> {
    for (const [name, bytes] of this.#parts.files) await writeFileDurable(join(folder, name), bytes)
  }
}

export const templateFileName = 'chat_template.jinja'

const noBytes = new Uint8Array(0)

function bytesOf(token: string | undefined, isAdded: boolean): Uint8Array {
  if (token === undefined) return noBytes
  if (isAdded) return Buffer.from(token)
  const bytes = Array.from(token, character => byteCharacters.get(character))
  // A token outside the alphabet of bytes stands for its own text.
  return bytes.every(byte => byte !== undefined) ? Uint8Array.from(bytes as number[]) : Buffer.from(token)
}

/** Text of ids as they come: a character is given out once all its bytes are there. */
export class StreamingDecoder {
  readonly #tokenizer: { tokenBytes(id: number): Uint8Array }
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: { tokenBytes(id: number): Uint8Array }) {
    this.#tokenizer = tokenizer
  }

  /** The text that an id completes; empty where it ends inside a character. */
  push(id: number): string {
    return this.#decoder.decode(this.#tokenizer.tokenBytes(id), { stream: true })
  }

  /** What is left: U+FFFD for a character that was never completed. */
  end(): string {
    return this.#decoder.decode()
  }
}
