// What an evaluation is asked for, checked.
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigError } from '../errors.js'
import {
  checkBoolean,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  checkSignal,
  checkString,
} from '../options.js'
import { type SuiteName, suiteNames } from './suites.js'

export interface EvaluateOptions {
  suite: SuiteName
  /** Files of rows, and folders of such files. */
  data: string | readonly string[]
  /** Where samples and results are written. Default: evaluations/<suite>-<the last two names of the checkpoint>. */
  folder?: string
  /** auto: the model's own; luffy; none; or a file. Default auto. */
  template?: string
  /** Default 0.6. */
  temperature?: number
  /** Default 1. */
  topP?: number
  /** Default 8192; the policy's window is a limit too. */
  maxTokens?: number
  /** Samples per prompt in place of each benchmark's own. */
  samplesPerPrompt?: number
  /** Most prompts per benchmark, the first ones. Default: all. */
  limit?: number
  /** Of the samples and of the order of options. Default 0. */
  seed?: number
  /** Options of multiple-choice questions in an order of the seed. Default true. */
  shuffleOptions?: boolean
  /** Keep the rows' system messages; the authors drop them, as the template has its own. Default false. */
  keepSystem?: boolean
  signal?: AbortSignal | undefined
  onProgress?: (progress: EvaluationProgress) => void
}

export interface EvaluationProgress {
  /** Samples judged, of those the earlier sittings' ones, and in all. */
  done: number
  resumed: number
  total: number
  benchmark: string
  /** Share of right samples so far. */
  correct: number
  tokensPerSecond: number
}

const names = [
  'suite',
  'data',
  'folder',
  'template',
  'temperature',
  'topP',
  'maxTokens',
  'samplesPerPrompt',
  'limit',
  'seed',
  'shuffleOptions',
  'keepSystem',
  'signal',
  'onProgress',
] as const

export type CheckedOptions = ReturnType<typeof checkEvaluateOptions>

/** `source`: the folder that the policy was loaded from. */
export function checkEvaluateOptions(source: string | undefined, options: EvaluateOptions) {
  const given = checkOptions(options, 'evaluate', names)
  if (source === undefined) {
    throw new ConfigError('evaluate: expected a policy that was loaded from a folder', {
      hint: 'save it and load it',
    })
  }
  const suite = checkChoice(given.suite, 'suite', suiteNames)
  const path = resolve(source)
  const samples = given.samplesPerPrompt
  return {
    source,
    suite,
    data: [options.data].flat().map(each => checkString(each, 'data')),
    folder: checkString(
      given.folder ?? join('evaluations', `${suite}-${basename(dirname(path))}-${basename(path)}`),
      'folder',
    ),
    template: checkString(given.template ?? 'auto', 'template'),
    temperature: checkNumber(given.temperature ?? 0.6, 'temperature', { min: 0, max: 100 }),
    topP: checkNumber(given.topP ?? 1, 'topP', { above: 0, max: 1 }),
    maxTokens: checkInteger(given.maxTokens ?? 8192, 'maxTokens', { min: 1 }),
    samplesPerPrompt:
      samples === undefined ? undefined : checkInteger(samples, 'samplesPerPrompt', { min: 1, max: 65536 }),
    limit: given.limit === undefined ? undefined : checkInteger(given.limit, 'limit', { min: 1 }),
    seed: checkInteger(given.seed ?? 0, 'seed'),
    shuffleOptions: checkBoolean(given.shuffleOptions ?? true, 'shuffleOptions'),
    keepSystem: checkBoolean(given.keepSystem ?? false, 'keepSystem'),
    signal: checkSignal(given.signal, 'signal'),
    onProgress: options.onProgress,
  }
}
