// What sampling is asked for, checked.
import {
  checkArray,
  checkBoolean,
  checkCallback,
  checkInteger,
  checkNumber,
  checkOptions,
  checkSignal,
  describeValue,
  temperatureRange,
} from '../options.js'

export interface SampleOptions {
  /** Most new tokens per completion. Default 512. */
  maxTokens?: number
  /** Softmax temperature; 0 = greedy. Default 1. */
  temperature?: number
  /** Keep the k most probable tokens; 0 = off. Default 0. */
  topK?: number
  /** Keep the smallest set of tokens whose probabilities sum up to p; 1 = off. Default 1. */
  topP?: number
  /** Keep tokens of at least this share of the largest probability; 0 = off. Default 0. */
  minP?: number
  /** Completions per prompt. Default 1. */
  samplesPerPrompt?: number
  /** Ids that end a completion. Default: the end tokens of the policy's configuration. */
  stopTokens?: readonly number[]
  /** With the same seed, step and prompt numbers the same tokens are drawn, whatever the batch. Default 0. */
  seed?: number
  /** A counter beside the seed, for instance the training step. Default 0. */
  step?: number
  /** The number of each prompt in the random counters. Default: its index. */
  promptNumbers?: readonly number[]
  /** Which samples of each prompt to draw, by their number in the counters. Default: 0 to samplesPerPrompt - 1. */
  sampleNumbers?: readonly (readonly number[])[]
  /** Most completions in progress at once. Default 256, fewer when memory is short. */
  maxConcurrent?: number
  /** On abort, return what is there (finishReason 'aborted') instead of rejecting. Default false. */
  returnPartial?: boolean
  signal?: AbortSignal
  /** Told of each round; a promise is waited for. What it throws ends the call (lib/callback.ts). */
  onProgress?: (progress: SampleProgress) => unknown
  /** Told of each completion that ended by itself or at its limit, as soon as it does; as onProgress. */
  onCompletion?: (completion: Completion) => unknown
}

export interface SampleProgress {
  /** Completions finished, and in all. */
  completed: number
  total: number
  /** Tokens drawn so far. */
  tokens: number
}

export interface Completion {
  /** Index into the prompts, and the number of the prompt's sample. */
  promptIndex: number
  sampleIndex: number
  /** The new tokens; a stop token that ended them is the last. */
  tokens: Int32Array
  /** Per token, under softmax(logits / temperature): bit-equal to policy.logProbs and to the trainer's (temperature 1 when greedy). */
  logProbs: Float32Array
  /** Per token, under the distribution it was drawn from, after top-k, top-p and min-p. */
  drawnLogProbs: Float32Array
  /** stop: a stop token; length: maxTokens or the policy's longest position; aborted: the signal fired. */
  finishReason: 'stop' | 'length' | 'aborted'
}

export interface ResolvedSampleOptions {
  maxTokens: number
  temperature: number
  topK: number
  topP: number
  minP: number
  /** Of each prompt. */
  sampleNumbers: readonly (readonly number[])[]
  stopTokens: ReadonlySet<number>
  seed: number
  step: number
  promptNumbers: readonly number[]
  maxConcurrent: number
  returnPartial: boolean
  signal: AbortSignal | undefined
  onProgress: ((progress: SampleProgress) => unknown) | undefined
  onCompletion: ((completion: Completion) => unknown) | undefined
}

const names = [
  'maxTokens',
  'temperature',
  'topK',
  'topP',
  'minP',
  'samplesPerPrompt',
  'stopTokens',
  'seed',
  'step',
  'promptNumbers',
  'sampleNumbers',
  'maxConcurrent',
  'returnPartial',
  'signal',
  'onProgress',
  'onCompletion',
] as const

const largestCounter = 2 ** 31 - 1

export function resolveSampleOptions(
  options: SampleOptions,
  prompts: number,
  policy: { vocabSize: number; eosTokenIds: readonly number[] },
): ResolvedSampleOptions {
  const given = checkOptions(options, 'sample', names)
  const promptNumbers = given.promptNumbers ?? Array.from({ length: prompts }, (_, i) => i)
  if (!Array.isArray(promptNumbers) || promptNumbers.length !== prompts) {
    throw new RangeError(
      `promptNumbers: expected one number per prompt (${prompts}), got ${describeValue(promptNumbers)}`,
    )
  }
  const stopTokens = checkArray(given.stopTokens ?? policy.eosTokenIds, 'stopTokens', 'an array of token ids')
  return {
    maxTokens: checkInteger(given.maxTokens ?? 512, 'maxTokens', { min: 1, max: largestCounter }),
    temperature:
      given.temperature === 0 ? 0 : checkNumber(given.temperature ?? 1, 'temperature', temperatureRange),
    topK: checkInteger(given.topK ?? 0, 'topK'),
    topP: checkNumber(given.topP ?? 1, 'topP', { above: 0, max: 1 }),
    minP: checkNumber(given.minP ?? 0, 'minP', { min: 0, max: 1 }),
    sampleNumbers: checkSampleNumbers(given.sampleNumbers, given.samplesPerPrompt, prompts),
    stopTokens: new Set(
      stopTokens.map((id, i) => checkInteger(id, `stopTokens[${i}]`, { max: policy.vocabSize - 1 })),
    ),
    seed: checkInteger(given.seed ?? 0, 'seed'),
    step: checkInteger(given.step ?? 0, 'step', { max: largestCounter }),
    promptNumbers: Array.from(promptNumbers as unknown[], (n, i) =>
      checkInteger(n, `promptNumbers[${i}]`, { max: largestCounter }),
    ),
    maxConcurrent: checkInteger(given.maxConcurrent ?? 256, 'maxConcurrent', { min: 1, max: 65536 }),
    returnPartial: checkBoolean(given.returnPartial ?? false, 'returnPartial'),
    signal: checkSignal(given.signal, 'signal'),
    onProgress: checkCallback(given.onProgress, 'onProgress'),
    onCompletion: checkCallback(given.onCompletion, 'onCompletion'),
  }
}

function checkSampleNumbers(given: unknown, samplesPerPrompt: unknown, prompts: number): number[][] {
  const count = checkInteger(samplesPerPrompt ?? 1, 'samplesPerPrompt', { min: 1, max: 65536 })
  if (given === undefined)
    return Array.from({ length: prompts }, () => Array.from({ length: count }, (_, i) => i))
  if (!Array.isArray(given) || given.length !== prompts) {
    throw new RangeError(
      `sampleNumbers: expected one list per prompt (${prompts}), got ${describeValue(given)}`,
    )
  }
  return given.map((numbers, i) => {
    const name = `sampleNumbers[${i}]`
    if (!Array.isArray(numbers) || numbers.length === 0 || new Set(numbers).size !== numbers.length) {
      throw new RangeError(`${name}: expected different numbers, at least one, got ${describeValue(numbers)}`)
    }
    return numbers.map((number, j) => checkInteger(number, `${name}[${j}]`, { max: largestCounter }))
  })
}
