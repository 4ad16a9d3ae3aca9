// The content of a published tokenizer.json, checked before a tokenizer is built of it: byte-pair encoding, with the
// normalizers and splits that the supported models use. A pattern to split by is code too (an unlucky one takes for
// ever), so only those known to be quick are taken.
import { TokenizerError } from '../errors.js'
import { describeValue } from '../options.js'

export interface AddedToken {
  id: number
  content: string
  special: boolean
}

export interface TokenizerContent {
  /** As the library takes it. */
  json: Record<string, unknown>
  /** Of every token that is not added. */
  vocabulary: ReadonlyMap<string, number>
  addedTokens: readonly AddedToken[]
  /** One more than the largest id. */
  vocabSize: number
}

/**
 * The character that stands for each byte in the vocabulary of a byte-level tokenizer: itself where it can be seen, and
 * the next unused one from U+0100 on otherwise.
 */
export const byteCharacters: ReadonlyMap<string, number> = new Map(
  (() => {
    let hidden = 0
    return Array.from({ length: 256 }, (_, byte): [string, number] => {
      const visible = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
      return [String.fromCharCode(visible ? byte : 256 + hidden++), byte]
    })
  })(),
)

/** Largest id taken: far above any vocabulary, and small enough for a list. */
const largestId = 2 ** 22

const split = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|` +
  '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'

/** The patterns of Qwen 2 and 3, of Llama 3 (and of models distilled from both), and of GPT-2: linear on any text. */
const knownPatterns: ReadonlySet<string> = new Set([
  split('\\p{N}'),
  split('\\p{N}{1,3}'),
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
])

/** Parts by their place in the file; other types are refused by name. */
const knownTypes: Readonly<Record<string, readonly string[]>> = {
  normalizer: ['Sequence', 'NFC', 'NFD', 'NFKC', 'NFKD'],
  pre_tokenizer: ['Sequence', 'ByteLevel', 'Split', 'Digits'],
  post_processor: ['Sequence', 'ByteLevel', 'TemplateProcessing'],
  decoder: ['ByteLevel'],
}
const innerLists: Readonly<Record<string, string>> = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  post_processor: 'processors',
}

/** @throws {TokenizerError} naming the file, the part, what came and what was expected */
export function checkTokenizerContent(content: unknown, source: string): TokenizerContent {
  const fail = (where: string, problem: string, hint?: string): never => {
    throw new TokenizerError(`${source}: ${where}: ${problem}`, {
      path: source,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  const json = record(content) ?? fail('content', `expected an object, got ${describeValue(content)}`)
  const model = record(json.model) ?? fail('model', `expected an object, got ${describeValue(json.model)}`)
  if (model.type !== 'BPE') fail('model.type', `expected "BPE", got ${describeValue(model.type)}`)
  const vocabulary = checkVocabulary(model.vocab, fail)
  checkMerges(model.merges, fail)
  const addedTokens = checkAddedTokens(json.added_tokens ?? [], fail)
  for (const part of Object.keys(knownTypes)) checkPart(json[part] ?? null, part, part, 0, fail)
  if (record(json.decoder) === undefined) fail('decoder', 'expected type "ByteLevel", got none')
  const ids = [...vocabulary.values(), ...addedTokens.map(token => token.id)]
  return {
    json: {
      ...json,
      ...Object.fromEntries(Object.keys(knownTypes).map(part => [part, json[part] ?? null])),
      added_tokens: json.added_tokens ?? [],
    },
    vocabulary,
    addedTokens,
    vocabSize: ids.reduce((most, id) => Math.max(most, id), -1) + 1,
  }
}

type Fail = (where: string, problem: string, hint?: string) => never

function checkVocabulary(value: unknown, fail: Fail): Map<string, number> {
  const vocab = record(value) ?? fail('model.vocab', `expected an object, got ${describeValue(value)}`)
  const taken = new Set<number>()
  const vocabulary = new Map<string, number>()
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id) || taken.has(id)) {
      const problem = isId(id) ? 'is taken' : `is not an integer from 0 to ${largestId}`
      fail('model.vocab', `id ${describeValue(id)} of ${describeValue(token)} ${problem}`)
    }
    taken.add(id as number)
    vocabulary.set(token, id as number)
  }
  // With all of them, every text has tokens.
  const missing = [...byteCharacters.keys()].find(character => !vocabulary.has(character))
  if (missing !== undefined) {
    const byte = byteCharacters.get(missing) as number
    fail(
      'model.vocab',
      `expected a token for each byte, got none for 0x${byte.toString(16).padStart(2, '0')}`,
    )
  }
  return vocabulary
}

function checkMerges(value: unknown, fail: Fail): void {
  if (!Array.isArray(value)) fail('model.merges', `expected a list, got ${describeValue(value)}`)
  const paired = Array.isArray(value[0])
  const wrong = value.findIndex(merge =>
    paired
      ? !(Array.isArray(merge) && merge.length === 2 && merge.every(part => typeof part === 'string'))
      : !(typeof merge === 'string' && merge.split(' ').length === 2),
  )
  if (wrong >= 0) {
    fail('model.merges', `entry ${wrong}: expected two tokens, got ${describeValue(value[wrong])}`)
  }
}

function checkAddedTokens(value: unknown, fail: Fail): AddedToken[] {
  if (!Array.isArray(value)) fail('added_tokens', `expected a list, got ${describeValue(value)}`)
  return value.map((entry, i) => {
    const { id, content, special } = record(entry) ?? {}
    if (!isId(id) || typeof content !== 'string' || content === '') {
      fail(
        `added_tokens[${i}]`,
        `expected an id from 0 to ${largestId} and a text, got ${describeValue(id)}, ${describeValue(content)}`,
      )
    }
    return { id: id as number, content: content as string, special: special === true }
  })
}

function checkPart(value: unknown, part: string, where: string, depth: number, fail: Fail): void {
  if (value === null) return
  const node = record(value) ?? fail(where, `expected an object, got ${describeValue(value)}`)
  const { type } = node
  const known = knownTypes[part] as readonly string[]
  if (typeof type !== 'string' || !known.includes(type)) {
    fail(where, `type ${describeValue(type)} is not supported (have: ${known.join(', ')})`)
  }
  if (depth > 4) fail(where, 'is nested too deeply')
  checkPattern(node.pattern, where, fail)
  if (type !== 'Sequence') return
  const list = innerLists[part] as string
  const inner = node[list]
  if (!Array.isArray(inner)) fail(`${where}.${list}`, `expected a list, got ${describeValue(inner)}`)
  for (const [i, each] of inner.entries()) checkPart(each, part, `${where}.${list}[${i}]`, depth + 1, fail)
}

function checkPattern(value: unknown, where: string, fail: Fail): void {
  if (value === undefined || value === null) return
  const { Regex, String: text } = record(value) ?? {}
  if (typeof text === 'string' && Regex === undefined) return
  if (typeof Regex !== 'string' || !knownPatterns.has(Regex)) {
    fail(
      `${where}.pattern`,
      `pattern ${describeValue(Regex)} is not in the supported set`,
      'the patterns of GPT-2, Qwen and Llama 3 are read; others may take for ever',
    )
  }
}

function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= largestId
}

function record(value: unknown): Record<string, unknown> | undefined {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isRecord ? (value as Record<string, unknown>) : undefined
}
