// The replay buffer of ExGRPO (arXiv 2510.02245, section 4.1): prompts with their success rate and past successes.
import { checkArray, checkNumber, checkObject, checkString, float32Range } from '../options.js'
import { CounterRandom } from '../random.js'
import type { MethodMemory, PromptItem, RecallContext, Replay, StepPrompts } from './memory.js'
import type { RatedMember } from './method.js'

export interface ReplayBufferSettings {
  share: number
  startSolved: number
  capacity: number
  successes: number
}

interface Entry {
  item: PromptItem
  /** Share of right ones among the samples when the prompt was sampled last. */
  solved: number
  /** Oldest first. */
  successes: Replay[]
}

/** A reward of 1 or more is a success, as in the metrics. */
const success = 1

export class ReplayBuffer implements MethodMemory {
  readonly #settings: ReplayBufferSettings
  /** By prompt, the one sampled last at the end. */
  readonly #entries = new Map<string, Entry>()
  #started = false

  constructor(settings: ReplayBufferSettings) {
    this.#settings = settings
  }

  get size(): number {
    return this.#entries.size
  }

  async recall(items: readonly PromptItem[], context: RecallContext): Promise<readonly StepPrompts[]> {
    const steps: StepPrompts[] = items.map(item => ({ item }))
    if (!this.#started) return steps
    const random = new CounterRandom(context.seed, 'exgrpo', context.step)
    // Any of the step's prompts may give way, so that every update of the step has its share.
    const places = random.shuffle(items.map((_, i) => i))
    const replaced = places.slice(0, Math.floor(this.#settings.share * items.length))
    const kept = new Set(places.slice(replaced.length).map(i => items[i]?.prompt))
    const chosen = draw(
      [...this.#entries.values()].filter(({ item }) => !kept.has(item.prompt)),
      replaced.length,
      random,
    )
    const replays = await surest(chosen, context)
    chosen.forEach(({ item }, i) => {
      steps[replaced[i] as number] = { item, replay: replays[i] as Replay }
    })
    return steps
  }

  remember(groups: readonly { item: PromptItem; members: readonly RatedMember[] }[]): void {
    const rewards: number[] = []
    for (const { item, members } of groups) {
      const samples = members.filter(({ source, reward }) => source === 'sample' && reward !== undefined)
      if (samples.length === 0) continue
      rewards.push(...samples.map(({ reward }) => reward as number))
      this.#rememberGroup(item, samples)
    }
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / Math.max(1, rewards.length)
    if (mean > this.#settings.startSolved) this.#started = true
  }

  #rememberGroup(item: PromptItem, samples: readonly RatedMember[]): void {
    const right = samples.filter(({ reward = 0 }) => reward >= success)
    const known = this.#entries.get(item.prompt)
    this.#entries.delete(item.prompt)
    if (right.length === samples.length || (right.length === 0 && known === undefined)) return
    const fresh = right.flatMap(({ tokens, promptLength, oldLogProbs }) =>
      oldLogProbs === undefined ? [] : [{ tokens: tokens.slice(promptLength), logProbs: oldLogProbs }],
    )
    const successes = [...(known?.successes ?? []), ...fresh].slice(-this.#settings.successes)
    if (successes.length === 0) return
    this.#entries.set(item.prompt, { item, solved: right.length / samples.length, successes })
    if (this.#entries.size > this.#settings.capacity) {
      this.#entries.delete(this.#entries.keys().next().value as string)
    }
  }

  *records(): Iterable<unknown> {
    yield { started: this.#started }
    for (const { item, solved, successes } of this.#entries.values()) {
      yield {
        item,
        solved,
        successes: successes.map(({ tokens, logProbs }) => ({
          tokens: [...tokens],
          logProbs: [...logProbs],
        })),
      }
    }
  }

  restore(records: readonly unknown[]): void {
    const [head, ...entries] = records
    this.#started = checkObject(head, 'records[0]').started === true
    this.#entries.clear()
    entries.forEach((record, i) => {
      const entry = entryOf(record, `records[${i + 1}]`)
      this.#entries.set(entry.item.prompt, entry)
    })
  }
}

/** Without replacement, each in proportion to exp(-(solved - 1/2)^2 / 2). */
function draw(entries: Entry[], most: number, random: CounterRandom): Entry[] {
  const left = entries.map(entry => ({ entry, weight: Math.exp(-((entry.solved - 0.5) ** 2) / 2) }))
  const chosen: Entry[] = []
  while (chosen.length < most && left.length > 0) {
    let mark = random.uniform() * left.reduce((sum, { weight }) => sum + weight, 0)
    const found = left.findIndex(({ weight }) => {
      mark -= weight
      return mark < 0
    })
    const [taken] = left.splice(found < 0 ? left.length - 1 : found, 1)
    chosen.push((taken as { entry: Entry }).entry)
  }
  return chosen
}

/** Of each entry the success whose mean entropy is the lowest; the oldest of equal ones. */
async function surest(entries: readonly Entry[], context: RecallContext): Promise<Replay[]> {
  const candidates = entries.flatMap(({ item, successes }) => {
    const prompt = context.encode(item.prompt)
    return successes.map(({ tokens }) => ({
      tokens: Int32Array.of(...prompt, ...tokens),
      promptLength: prompt.length,
    }))
  })
  const scored = await context.logProbs(candidates)
  let start = 0
  return entries.map(({ successes }) => {
    const entropies = scored
      .slice(start, start + successes.length)
      .map(({ entropy }) => entropy.reduce((sum, value) => sum + value, 0) / entropy.length)
    start += successes.length
    return successes[entropies.indexOf(Math.min(...entropies))] as Replay
  })
}

function entryOf(record: unknown, where: string): Entry {
  const { item, solved, successes } = checkObject(record, where)
  const checked = checkObject(item, `${where}.item`)
  checkString(checked.prompt, `${where}.item.prompt`)
  checkString(checked.answer, `${where}.item.answer`)
  return {
    item: item as PromptItem,
    solved: checkNumber(solved, `${where}.solved`, { min: 0, max: 1 }),
    successes: checkArray(successes, `${where}.successes`).map((value, i) => {
      const replay = checkObject(value, `${where}.successes[${i}]`)
      const numbers = (name: 'tokens' | 'logProbs') =>
        checkArray(replay[name], `${where}.successes[${i}].${name}`).map((x, j) =>
          checkNumber(x, `${where}.successes[${i}].${name}[${j}]`, float32Range),
        )
      const [tokens, logProbs] = [numbers('tokens'), numbers('logProbs')]
      if (tokens.length === 0 || tokens.length !== logProbs.length) {
        throw new RangeError(
          `${where}.successes[${i}]: expected as many tokens as log-probabilities, got ${tokens.length} and ${logProbs.length}`,
        )
      }
      return { tokens: Int32Array.from(tokens), logProbs: Float32Array.from(logProbs) }
    }),
  }
}
