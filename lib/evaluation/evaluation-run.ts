// The sampling of an evaluation: what is missing is drawn, and every sample is judged and written when it ends.
import { createHash } from 'node:crypto'
import { ConfigError } from '../errors.js'
import type { Tokenizer } from '../policy/tokenizer-simple.js'
import { AnswerPool } from '../rewards/answer-pool.js'
import type { Completion } from '../sampler/options.js'
import type { Policy } from '../sampler/policy.js'
import type { CheckedOptions } from './evaluate-options.js'
import type { EvaluationItem } from './evaluation-data.js'
import { judge } from './judge.js'
import type { SampleLog, SampleRecord } from './sample-log.js'
import { type Benchmark, suites } from './suites.js'

/** Samples that one call of the sampler draws: what it returns is in memory as a whole. */
const samplesPerCall = 1024

/** A prompt with the samples that are still to be drawn. */
interface Waiting {
  item: EvaluationItem
  tokens: Int32Array
  samples: number[]
}

export class EvaluationRun {
  readonly #policy: Policy
  readonly #tokenizer: Tokenizer
  readonly #items: readonly EvaluationItem[]
  readonly #log: SampleLog
  readonly #options: CheckedOptions
  readonly #counts: ReadonlyMap<string, number>
  readonly notices: string[] = []
  resumed = 0
  #total = 0
  #done = 0
  #right = 0
  #tokens = 0
  #seconds = 0
  #last = 0
  readonly #judging = new Set<Promise<void>>()
  /** Ends the sampling when a sample cannot be written. */
  readonly #failed = new AbortController()

  constructor(
    policy: Policy,
    tokenizer: Tokenizer,
    items: readonly EvaluationItem[],
    log: SampleLog,
    options: CheckedOptions,
  ) {
    this.#policy = policy
    this.#tokenizer = tokenizer
    this.#items = items
    this.#log = log
    this.#options = options
    const own: readonly Benchmark[] = suites[options.suite]
    this.#counts = new Map(own.map(each => [each.name, options.samplesPerPrompt ?? each.samplesPerPrompt]))
  }

  /** Samples of a prompt; all of them once the run is complete. */
  recordsOf(item: EvaluationItem): SampleRecord[] {
    const count = this.#counts.get(item.benchmark) ?? 0
    return Array.from({ length: count }, (_, sample) => this.#log.get(item.key, sample)).filter(
      record => record !== undefined,
    )
  }

  async complete(): Promise<void> {
    const waiting = this.#waiting()
    await using pool = new AnswerPool()
    for (const part of parts(waiting)) {
      try {
        await this.#sample(part, pool)
      } finally {
        // What has been drawn is judged and written, whatever ended the sampling.
        await Promise.all(this.#judging)
      }
    }
  }

  #waiting(): Waiting[] {
    const { maxPositions } = this.#policy.config
    const { maxTokens } = this.#options
    const waiting: Waiting[] = []
    let short = 0
    for (const item of this.#items) {
      const count = this.#counts.get(item.benchmark) ?? 0
      this.#total += count
      const samples = Array.from({ length: count }, (_, i) => i).filter(
        i => this.#log.get(item.key, i) === undefined,
      )
      this.resumed += count - samples.length
      const tokens = this.#tokenizer.encode(item.prompt)
      if (tokens.length >= maxPositions) {
        throw new ConfigError(
          `a prompt of ${item.benchmark} has ${tokens.length} tokens, the policy has ${maxPositions} positions`,
          { hint: 'evaluate with more positions' },
        )
      }
      if (tokens.length + maxTokens > maxPositions) short += 1
      if (samples.length > 0) waiting.push({ item, tokens, samples })
    }
    if (short > 0) {
      this.notices.push(
        `${short} prompts leave less than ${maxTokens} tokens of the policy's ${maxPositions} positions`,
      )
    }
    this.#done = this.resumed
    this.#right = this.#items.flatMap(item => this.recordsOf(item)).filter(({ correct }) => correct).length
    return waiting
  }

  async #sample(part: readonly Waiting[], pool: AnswerPool): Promise<void> {
    const { temperature, topP, maxTokens, seed, signal } = this.#options
    this.#last = performance.now()
    await this.#policy.sample(
      part.map(({ tokens }) => tokens),
      {
        temperature,
        topP,
        maxTokens,
        seed,
        sampleNumbers: part.map(({ samples }) => samples),
        promptNumbers: part.map(({ item }) => promptNumber(item.key)),
        stopTokens: this.#tokenizer.endIds,
        signal: signal ? AbortSignal.any([signal, this.#failed.signal]) : this.#failed.signal,
        onCompletion: completion => {
          const { item } = part[completion.promptIndex] as Waiting
          const now = performance.now()
          const judging = this.#take(item, completion, (now - this.#last) / 1000, pool)
          this.#last = now
          this.#judging.add(judging)
          judging.then(
            () => this.#judging.delete(judging),
            error => this.#failed.abort(error), // it stays in the set, where it is awaited
          )
        },
      },
    )
  }

  async #take(
    item: EvaluationItem,
    completion: Completion,
    seconds: number,
    pool: AnswerPool,
  ): Promise<void> {
    const { tokens, finishReason, sampleIndex } = completion
    const ended = finishReason === 'stop'
    const text = this.#tokenizer.decode(ended ? tokens.subarray(0, -1) : tokens)
    const { correct, reason } = await judge(pool, item, text)
    const record: SampleRecord = {
      benchmark: item.benchmark,
      key: item.key,
      sample: sampleIndex,
      correct,
      reason,
      tokens: tokens.length,
      finishReason: ended ? 'stop' : 'length',
      seconds,
    }
    await this.#log.add(record, { answer: item.answer, prompt: item.prompt, completion: text })
    this.#done += 1
    this.#right += Number(correct)
    this.#tokens += tokens.length
    this.#seconds += seconds
    this.#options.onProgress?.({
      done: this.#done,
      resumed: this.resumed,
      total: this.#total,
      benchmark: item.benchmark,
      correct: this.#right / this.#done,
      tokensPerSecond: this.#seconds > 0 ? this.#tokens / this.#seconds : 0,
    })
  }
}

/** Prompts of one benchmark, some at a time, so that its rate is its own. */
function* parts(waiting: readonly Waiting[]): Generator<Waiting[]> {
  let part: Waiting[] = []
  let samples = 0
  for (const each of waiting) {
    const isOther = part[0] !== undefined && part[0].item.benchmark !== each.item.benchmark
    if (part.length > 0 && (isOther || samples + each.samples.length > samplesPerCall)) {
      yield part
      part = []
      samples = 0
    }
    part.push(each)
    samples += each.samples.length
  }
  if (part.length > 0) yield part
}

/** A prompt draws the same numbers whatever else is evaluated. */
function promptNumber(key: string): number {
  return createHash('sha256').update(key).digest().readUInt32LE() >>> 1
}
