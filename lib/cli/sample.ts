// `luffy sample`: completions of a checkpoint, for prompts that are given or for a new instance of the op chains task.
import { fstatSync } from 'node:fs'
import { join } from 'node:path'
import {
  answer,
  drawChain,
  isHeldOut,
  opChainsTokenizer,
  promptOf,
  TRAINING_SHAPE,
} from '../data/op-chains/index.js'
import { AbortedError, ConfigError, ModelFileError, TokenizerError } from '../errors.js'
import { folderProblem } from '../io/folders.js'
import { exists } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import { isHubReference } from '../policy/hub.js'
import { HuggingFaceTokenizer } from '../policy/tokenizer-hugging-face.js'
import { checkTokenizerFits, loadTokenizer } from '../policy/tokenizer-load.js'
import { CharacterTokenizer, type Tokenizer } from '../policy/tokenizer-simple.js'
import { CounterRandom } from '../random.js'
import { formatTable } from '../report/table.js'
import { printable } from '../report/text.js'
import { judgeOpChains } from '../rewards/op-chains.js'
import { Policy } from '../sampler/policy.js'
import type { ComputeDtype } from '../tensor/compute-dtype.js'
import { Device } from '../tensor/device.js'
import { checkpointSteps } from '../training/run-folder.js'
import { fetchModel } from './fetch-model.js'
import { catchStopSignals } from './stop-signals.js'
import { print, tableStyle } from './terminal.js'

export interface SampleCommandOptions {
  /** A prompt, or `-` for the lines of stdin. */
  prompt: string | undefined
  /** Take the prompt as it is, without the chat template. */
  raw: boolean
  n: number
  temperature: number
  maxTokens: number
  seed: number | undefined
  device: string
  deterministic: boolean
  dtype: ComputeDtype
  allowNonfinite: boolean
  json: boolean
}

/** One completion as `--json` prints it, one object a line. */
export interface SampledRow {
  prompt: string
  completion: string
  finishReason: string
  /** Sum of the log-probabilities of its tokens. */
  logProb: number
  tokens: number
  /** Of prompts of the op chains task. */
  answer?: string
  reward?: number
}

const noInputAfterMs = 1000

export async function runSample(path: string, options: SampleCommandOptions): Promise<number> {
  const folder = await checkpointIn(path)
  const tokenizer = await loadTokenizer(folder)
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31)
  const prompts = await promptsFor(options.prompt, tokenizer, seed, folder)
  const encoded = await encodePrompts(prompts, tokenizer, options.raw)
  const stop = catchStopSignals(1)
  try {
    await using device = await Device.open(options.device, { deterministic: options.deterministic })
    await using policy = await Policy.load(folder, {
      device,
      dtype: options.dtype,
      allowNonFinite: options.allowNonfinite,
      signal: stop.signal,
    })
    checkTokenizerFits(tokenizer, policy.config.vocabSize, folder)
    const completions = await policy.sample(encoded, {
      samplesPerPrompt: options.n,
      temperature: options.temperature,
      maxTokens: options.maxTokens,
      seed,
      stopTokens: tokenizer.endIds,
      signal: stop.signal,
    })
    const rows = completions.map(({ promptIndex, tokens, logProbs, finishReason }): SampledRow => {
      const prompt = prompts[promptIndex] as string
      const completion = textOf(tokens, tokenizer)
      return {
        prompt,
        completion,
        finishReason,
        logProb: logProbs.reduce((sum, logProb) => sum + logProb, 0),
        tokens: tokens.length,
        ...judged(prompt, completion, tokenizer),
      }
    })
    if (options.json) for (const row of rows) print(printable(JSON.stringify(row)))
    else print(rowsAsText(rows, options, seed))
    return 0
  } catch (error) {
    if (stop.exitCode === undefined || !AbortedError.isInstance(error)) throw error
    throw Object.defineProperty(new AbortedError('stopped', { cause: error }), 'exitCode', {
      value: stop.exitCode,
    })
  } finally {
    stop.release()
  }
}

/** The folder itself, the newest checkpoint of a run folder, or that of a model of the hub. */
export async function checkpointIn(path: string): Promise<string> {
  if (isHubReference(path)) return await fetchModel(path)
  const problem = await folderProblem(path)
  if (problem !== undefined) {
    throw new ModelFileError(`${path}: ${problem}`, {
      hint: 'expected a checkpoint, such as runs/luffy/checkpoint-100',
      path,
    })
  }
  if (await exists(join(path, 'config.json'))) return path
  const [newest] = await checkpointSteps(path)
  if (newest === undefined) {
    throw new ModelFileError(`${path}: holds neither config.json nor a checkpoint`, { path })
  }
  return join(path, `checkpoint-${newest}`)
}

async function promptsFor(
  given: string | undefined,
  tokenizer: Tokenizer,
  seed: number,
  folder: string,
): Promise<string[]> {
  if (given !== undefined && given !== '-') return [given]
  const lines = await stdinLines(given === '-')
  if (lines.length > 0) return lines
  if (given === '-') throw new ConfigError('--prompt -: stdin holds no prompt')
  if (!isOpChains(tokenizer)) {
    throw new ConfigError(`${folder}: expected --prompt TEXT, as the policy is not one of the op chains task`)
  }
  return [newInstance(seed)]
}

/**
 * Lines of stdin where it is a file or a pipe. A pipe into which nothing comes for a second counts as none, unless it
 * was asked for: many programs leave one open and never write to it.
 */
async function stdinLines(asked: boolean): Promise<string[]> {
  const status = fstatSync(0)
  if (!asked && !status.isFile() && !status.isFIFO() && !status.isSocket()) return []
  const text = await stdinText(asked || status.isFile() ? undefined : noInputAfterMs)
  return text.split(/\r?\n/).filter(line => line !== '')
}

function stdinText(giveUpAfterMs: number | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer =
      giveUpAfterMs === undefined
        ? undefined
        : setTimeout(() => {
            process.stdin.destroy()
            resolve('')
          }, giveUpAfterMs)
    process.stdin
      .setEncoding('utf8')
      .on('data', chunk => {
        clearTimeout(timer)
        text += chunk
      })
      .on('end', () => {
        clearTimeout(timer)
        resolve(text)
      })
      .on('error', reject)
  })
}

function isOpChains(tokenizer: Tokenizer): tokenizer is CharacterTokenizer {
  const own = opChainsTokenizer()
  if (!(tokenizer instanceof CharacterTokenizer)) return false
  return tokenizer.endId === own.endId && tokenizer.characters.join('') === own.characters.join('')
}

/** A prompt of the training shape that no training set holds. */
export function newInstance(seed: number): string {
  for (let draw = 0; ; draw++) {
    const random = new CounterRandom(seed, 'op-chains/sample', draw)
    const prompt = promptOf(drawChain(random, { ...TRAINING_SHAPE, forceSecret: true }))
    if (isHeldOut(prompt)) return prompt
  }
}

/** Each prompt as the user's turn of a chat where the tokenizer has a template, else as it is. */
async function encodePrompts(
  prompts: readonly string[],
  tokenizer: Tokenizer,
  raw: boolean,
): Promise<Int32Array[]> {
  if (prompts.includes('')) throw new ConfigError('prompt: expected at least one character')
  if (!(tokenizer instanceof HuggingFaceTokenizer))
    return prompts.map(prompt => encodePrompt(prompt, tokenizer))
  const template = raw ? undefined : tokenizer.chatTemplate
  if (template === undefined) return prompts.map(prompt => tokenizer.encode(prompt, { begin: !raw }))
  const texts = await template.renderAll(prompts.map(content => [{ role: 'user', content }]))
  return texts.map(text => tokenizer.encode(text))
}

// A tokenizer knows its text by no name; here it is the prompt.
function encodePrompt(prompt: string, tokenizer: Tokenizer): Int32Array {
  try {
    return tokenizer.encode(prompt)
  } catch (error) {
    if (!TokenizerError.isInstance(error)) throw error
    const problem = error.message.replace(/^text: /, '')
    const example = isOpChains(tokenizer) ? `, such as --prompt '${newInstance(0)}'` : ''
    throw new TokenizerError(`prompt ${describeValue(prompt)}: ${problem}${example}`, { cause: error })
  }
}

// A vocabulary may be padded beyond the tokenizer's ids.
function textOf(tokens: Int32Array, tokenizer: Tokenizer): string {
  let text = ''
  for (let start = 0; start < tokens.length; ) {
    let end = start
    while (end < tokens.length && (tokens[end] as number) < tokenizer.vocabSize) end += 1
    text += end > start ? tokenizer.decode(tokens.subarray(start, end)) : `[${tokens[end++]}]`
    start = end
  }
  return text
}

function judged(
  prompt: string,
  completion: string,
  tokenizer: Tokenizer,
): { answer: string; reward: number } | object {
  if (!isOpChains(tokenizer)) return {}
  let right: string
  try {
    right = answer(prompt)
  } catch {
    return {}
  }
  return { answer: right, reward: judgeOpChains(completion, right).reward }
}

function rowsAsText(rows: readonly SampledRow[], options: SampleCommandOptions, seed: number): string {
  const lines: string[] = []
  for (const prompt of new Set(rows.map(row => row.prompt))) {
    const own = rows.filter(row => row.prompt === prompt)
    const right = own[0]?.answer
    // Only prompts of the op chains task have an answer to be judged by.
    const isJudged = own.some(row => row.reward !== undefined)
    lines.push(
      `${printable(prompt)}  ${right === undefined ? '' : `right answer ${right}, `}temperature ${options.temperature}, seed ${seed}`,
      formatTable(
        [
          { header: 'completion', align: 'left' },
          ...(isJudged ? ['reward'] : []),
          'log-probability',
          'ended by',
        ],
        own.map(row => [
          printable(row.completion),
          ...(isJudged ? [String(row.reward ?? '-')] : []),
          row.logProb.toFixed(3),
          row.finishReason,
        ]),
        { style: tableStyle() },
      ),
      '',
    )
  }
  return lines.join('\n').trimEnd()
}
