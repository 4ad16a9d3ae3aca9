// The tokenizer of a model folder: tokenizer.json with what stands beside it, or one of luffy's own.
import { join } from 'node:path'
import { TokenizerError } from '../errors.js'
import { folderProblem } from '../io/folders.js'
import { exists, readRegularFile } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import { ChatTemplate, memberOf } from './chat-template.js'
import { tokenizerFileNames } from './checkpoint-write.js'
import { modelFolder } from './hub.js'
import { checkTokenizerContent, type TokenizerContent } from './tokenizer-file.js'
import { HuggingFaceTokenizer, templateFileName } from './tokenizer-hugging-face.js'
import { CharacterTokenizer, type Tokenizer } from './tokenizer-simple.js'

const mostBytes = 128 * 1024 * 1024
const generationFileName = 'generation_config.json'

/**
 * The tokenizer that a folder, or a model of the hub (`hf:owner/name[@revision]`), holds.
 *
 * @throws {TokenizerError} naming the file and what is wrong with it
 * @throws {TemplateError} for a chat template that is too long
 */
export async function loadTokenizer(model: string): Promise<Tokenizer> {
  const folder = await modelFolder(model, { parts: 'tokenizer' })
  const problem = await folderProblem(folder)
  if (problem !== undefined) {
    const hint = 'give the folder of a Hugging Face model, or hf:owner/name'
    throw new TokenizerError(`${folder}: ${problem}`, { hint, path: folder })
  }
  const files = new Map<string, Buffer>()
  for (const name of [...tokenizerFileNames, generationFileName]) {
    const path = join(folder, name)
    if (name !== 'tokenizer.json' && !(await exists(path))) continue
    files.set(name, await readRegularFile(path, mostBytes, { within: folder, error: TokenizerError }))
  }
  const read = (name: string) => parse(files.get(name), join(folder, name))
  const source = join(folder, 'tokenizer.json')
  const json = read('tokenizer.json')
  if (memberOf(memberOf(json, 'model'), 'type') === 'WordLevel')
    return CharacterTokenizer.fromJson(json, source)
  const content = checkTokenizerContent(json, source)
  const config = read('tokenizer_config.json')
  const specialTokens = specialTokensOf([read('special_tokens_map.json'), config])
  const endIds = endIdsOf(read(generationFileName), content, join(folder, generationFileName))
  const named = specialTokens.eos_token
  const endId = named === undefined ? endIds[0] : idOf(named, content)
  if (endId === undefined) {
    throw new TokenizerError(
      named === undefined
        ? `${folder}: neither tokenizer_config.json nor generation_config.json names an end token`
        : `${join(folder, 'tokenizer_config.json')}: eos_token ${describeValue(named)} is not in the vocabulary`,
      { path: folder },
    )
  }
  const template = templateOf(files, config, read('chat_template.json'), folder)
  files.delete(generationFileName) // the policy writes its own
  return new HuggingFaceTokenizer(
    {
      content,
      endId,
      endIds,
      specialTokens,
      template: template && new ChatTemplate(template.text, template.source, specialTokens),
      files,
    },
    source,
  )
}

/** Throws a TokenizerError unless every id has a row in a policy's embeddings. */
export function checkTokenizerFits(tokenizer: Tokenizer, embeddingRows: number, folder: string): void {
  if (tokenizer.vocabSize <= embeddingRows) return
  const id = tokenizer.vocabSize - 1
  throw new TokenizerError(
    `${folder}: the tokenizer's id ${id} (${describeValue(tokenizer.decode([id]))}) is beyond the policy's ` +
      `${embeddingRows} embedding rows`,
    { hint: 'the tokenizer is of another model', path: folder, details: { id, embeddingRows } },
  )
}

function parse(bytes: Buffer | undefined, path: string): unknown {
  if (bytes === undefined) return undefined
  const text = bytes.toString('utf8')
  if (text.startsWith('version https://git-lfs')) {
    throw new TokenizerError(`${path}: ${bytes.length} bytes, is a Git LFS pointer`, {
      hint: 'run git lfs pull',
      path,
    })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new TokenizerError(`${path}: ${why.slice(0, 200)}`, { path, cause: error })
  }
}

const specialNames = ['bos_token', 'eos_token', 'pad_token', 'unk_token'] as const

/** Names to texts; later sources win. A token is a text, or an object with its content. */
function specialTokensOf(sources: readonly unknown[]): Record<string, string> {
  const tokens: Record<string, string> = {}
  for (const source of sources) {
    for (const name of specialNames) {
      const value = memberOf(source, name)
      const text = typeof value === 'string' ? value : memberOf(value, 'content')
      if (typeof text === 'string') tokens[name] = text
    }
  }
  return tokens
}

function idOf(token: string, content: TokenizerContent): number | undefined {
  return content.addedTokens.find(added => added.content === token)?.id ?? content.vocabulary.get(token)
}

function endIdsOf(generation: unknown, content: TokenizerContent, path: string): number[] {
  const value = memberOf(generation, 'eos_token_id') ?? []
  const ids: unknown[] = Array.isArray(value) ? value : [value]
  return ids.map(id => {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) >= content.vocabSize) {
      throw new TokenizerError(
        `${path}: eos_token_id: expected ids from 0 to ${content.vocabSize - 1}, got ${describeValue(id)}`,
        { path },
      )
    }
    return id as number
  })
}

// In the order in which transformers takes them.
function templateOf(
  files: ReadonlyMap<string, Buffer>,
  config: unknown,
  legacy: unknown,
  folder: string,
): { text: string; source: string } | undefined {
  const file = files.get(templateFileName)
  if (file !== undefined) return { text: file.toString('utf8'), source: join(folder, templateFileName) }
  const named = memberOf(config, 'chat_template')
  const value = Array.isArray(named)
    ? memberOf(
        named.find(entry => memberOf(entry, 'name') === 'default'),
        'template',
      )
    : named
  if (typeof value === 'string') return { text: value, source: join(folder, 'tokenizer_config.json') }
  const old = memberOf(legacy, 'chat_template')
  return typeof old === 'string' ? { text: old, source: join(folder, 'chat_template.json') } : undefined
}
