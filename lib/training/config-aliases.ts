// Option names of TRL and of verl (with LUFFY's script) in a configuration: each is another name of an option here, or
// of something that luffy always does. A name for what luffy does not have is refused with what it does instead.
import { type MethodName, methods } from '../methods/index.js'
import { describeValue, nearestName } from '../options.js'
import { type Alias, aliases, aliasPrefixes, aliasRoots } from './config-alias-table.js'

export interface TranslatedConfig {
  /** The configuration under luffy's own names. */
  config: unknown
  /** At most one line that says which names were taken for which. */
  notices: string[]
  mistakes: string[]
}

type Options = Record<string, unknown>

/** A name as it stands in the configuration, with its value and what it means. */
interface Given {
  name: string
  value: unknown
  alias: Alias
}

/** Puts luffy's names in the place of others. `namesAt`: the schema's options at a path. */
export function translateAliases(
  config: unknown,
  namesAt: (path: readonly string[]) => readonly string[],
): TranslatedConfig {
  if (!isOptions(config)) return { config, notices: [], mistakes: [] }
  const ownNames = new Set(namesAt([]))
  const own: Options = {}
  const given: Given[] = []
  const mistakes: string[] = []
  for (const [name, value] of Object.entries(config)) {
    if (ownNames.has(name) && aliasRoots.has(name) && isOptions(value)) {
      const [mine, others] = split(value, name, new Set(namesAt([name])))
      if (Object.keys(mine).length > 0) own[name] = mine
      collect(others, name, given, mistakes)
    } else if (ownNames.has(name)) own[name] = value
    else if (aliasRoots.has(name) && isOptions(value)) collect(value, name, given, mistakes)
    else {
      const alias = aliasOf(name)
      if (alias === undefined) own[name] = value
      else given.push({ name, value, alias })
    }
  }
  if (given.length === 0) return { config: own, notices: [], mistakes }
  const translation = new Translation(own, mistakes)
  // null is how TRL and verl write "not given".
  for (const entry of given) if (entry.value !== null) translation.take(entry)
  translation.compose()
  return { config: own, notices: translation.notices(), mistakes }
}

/** A group that both tools have under one name, by whose option each is; what is nobody's stays for the schema to refuse. */
function split(group: Options, path: string, ownNames: ReadonlySet<string>): [own: Options, others: Options] {
  const isOther = ([key]: [string, unknown]) => !ownNames.has(key) && aliasOf(`${path}.${key}`) !== undefined
  const entries = Object.entries(group)
  return [
    Object.fromEntries(entries.filter(entry => !isOther(entry))),
    Object.fromEntries(entries.filter(isOther)),
  ]
}

/** The option that a name of TRL or verl stands for, where it stands for one alone. */
export function aliasTarget(name: string): string | undefined {
  const alias = aliasOf(name)
  return alias !== undefined && 'to' in alias ? alias.to : undefined
}

function aliasOf(path: string): Alias | undefined {
  for (const prefix of ['', ...aliasPrefixes]) {
    const name = path.startsWith(prefix) ? path.slice(prefix.length) : ''
    if (Object.hasOwn(aliases, name)) return aliases[name]
  }
  return path.startsWith('vllm_') ? aliases.use_vllm : undefined
}

function collect(group: Options, path: string, given: Given[], mistakes: string[]): void {
  for (const [key, value] of Object.entries(group)) {
    const name = `${path}.${key}`
    const alias = aliasOf(name)
    if (isOptions(value)) collect(value, name, given, mistakes)
    else if (alias !== undefined) given.push({ name, value, alias })
    else {
      const nearest = nearestName(key, Object.keys(aliases))
      mistakes.push(`unknown option "${name}"${nearest ? `, did you mean "${nearest}"?` : ''}`)
    }
  }
}

/** A mistake in the value of an alias, in words. */
class Mistake extends Error {}

class Translation {
  readonly #own: Options
  readonly #mistakes: string[]
  /** Parts of options that several names make up together: `clip.low`, `clip.off`, ... */
  readonly #parts = new Map<string, { name: string; value: unknown }>()
  /** Who set an option. */
  readonly #setBy = new Map<string, string>()
  readonly #renamed: string[] = []
  readonly #ignored: string[] = []

  constructor(own: Options, mistakes: string[]) {
    this.#own = own
    this.#mistakes = mistakes
  }

  take({ name, value, alias }: Given): void {
    try {
      if ('ignored' in alias) this.#ignored.push(name)
      else if ('absent' in alias) throw new Mistake(`${name}: luffy has no such option; ${alias.absent}`)
      else if ('only' in alias) this.#always(name, value, alias)
      else {
        const converted = alias.convert ? alias.convert(value) : value
        if (converted === undefined) return
        if ('part' in alias) this.#part(name, converted, alias.part)
        else this.#set(alias.to, converted, name)
      }
    } catch (error) {
      if (!(error instanceof Error)) throw error
      this.#mistakes.push(error instanceof Mistake ? error.message : `${name}: ${error.message}`)
    }
  }

  #always(name: string, value: unknown, { only, because }: Extract<Alias, { only: unknown }>): void {
    const list = Array.isArray(value) ? value : [value]
    if (!list.every(entry => only.includes(entry))) {
      const expected = only.map(describeValue).join(' or ')
      throw new Mistake(`${name}: expected ${expected} (${because}), got ${describeValue(value)}`)
    }
    this.#ignored.push(name)
  }

  #part(name: string, value: unknown, part: string): void {
    const other = this.#parts.get(part)
    if (other !== undefined)
      throw new Mistake(`${name}: is another name of ${other.name}, which is given as well`)
    this.#parts.set(part, { name, value })
  }

  #set(option: string, value: unknown, name: string): void {
    const path = option.split('.')
    let target = this.#own
    const taken = () => {
      const by = this.#setBy.get(option) ?? option
      return new Mistake(`${name}: is another name of ${by}, which is given as well`)
    }
    for (const key of path.slice(0, -1)) {
      const inner = Object.hasOwn(target, key) ? target[key] : {}
      if (!isOptions(inner)) throw taken()
      target[key] = { ...inner } // the caller's object stays as it is
      target = target[key] as Options
    }
    const last = path.at(-1) as string
    if (Object.hasOwn(target, last)) throw taken()
    target[last] = value
    this.#setBy.set(option, name)
    this.#renamed.push(`${name} is ${option}`)
  }

  /** Options that are made of several names. */
  compose(): void {
    for (const make of [this.#clip, this.#betas, this.#baseline, this.#batch, this.#warmup]) {
      try {
        make.call(this)
      } catch (error) {
        if (!(error instanceof Mistake)) throw error
        this.#mistakes.push(error.message)
      }
    }
  }

  /** The values of parts and the names that gave them; undefined where none was given. */
  #partsOf(...parts: string[]): { values: unknown[]; names: string } | undefined {
    const found = parts.map(part => this.#parts.get(part))
    const names = found.flatMap(part => part?.name ?? [])
    if (names.length === 0) return undefined
    return { values: found.map(part => part?.value), names: names.join(' with ') }
  }

  // LUFFY's script removes the clip whatever its bounds; without bounds the range is PPO's 0.2.
  #clip(): void {
    const given = this.#partsOf('clip.off', 'clip.low', 'clip.high')
    if (given === undefined) return
    const [off, low = 0.2, high = low] = given.values
    this.#set('objective.clip', off === true ? false : { low, high }, given.names)
  }

  #betas(): void {
    const given = this.#partsOf('betas.0', 'betas.1')
    if (given === undefined) return
    const [first = 0.9, second = 0.999] = given.values
    this.#set('adamBetas', [first, second], given.names)
  }

  // Which members a baseline is over (adv_estimator), and whether the deviation divides (scale_rewards).
  #baseline(): void {
    const given = this.#partsOf('baseline.split', 'baseline.std')
    if (given === undefined) return
    const name = this.#own.method ?? 'luffy'
    const method = Object.hasOwn(methods, String(name)) ? methods[name as MethodName] : methods.luffy
    const ofMethod: string = method.advantages.baseline ?? 'mean'
    const [split = ofMethod.startsWith('on-policy'), std = ofMethod.endsWith('std')] = given.values
    this.#set('advantages.baseline', `${split ? 'on-policy-' : ''}mean${std ? '-std' : ''}`, given.names)
  }

  // TRL counts completions and updates once per batch: prompts are completions over the size of a group.
  #batch(): void {
    const given = this.#partsOf('batch.device', 'batch.accumulation')
    if (given === undefined) return
    const [device = 8, accumulation = 1] = given.values
    const generations = this.#own.numGenerations ?? 8
    const prompts = (Number(device) * Number(accumulation)) / Number(generations)
    if (!Number.isSafeInteger(prompts) || prompts < 1) {
      throw new Mistake(
        `${given.names}: expected a multiple of numGenerations (${String(generations)}) completions, ` +
          `got ${String(device)} x ${String(accumulation)}`,
      )
    }
    this.#set('promptsPerStep', prompts, given.names)
    this.#set('promptsPerUpdate', prompts, given.names)
  }

  #warmup(): void {
    const given = this.#partsOf('warmup.ratio')
    if (given === undefined) return
    const ratio = given.values[0]
    if (typeof ratio !== 'number' || !(ratio >= 0 && ratio <= 1)) {
      throw new Mistake(`${given.names}: expected a number from 0 to 1, got ${describeValue(ratio)}`)
    }
    this.#set('warmupSteps', Math.ceil(ratio * Number(this.#own.maxSteps ?? 100)), given.names)
  }

  notices(): string[] {
    const parts = [
      ...(this.#renamed.length > 0 ? [`names of TRL or verl: ${this.#renamed.join(', ')}`] : []),
      ...(this.#ignored.length > 0 ? [`without effect here: ${this.#ignored.join(', ')}`] : []),
    ]
    return parts.length === 0 ? [] : [`configuration: ${parts.join('; ')}`]
  }
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
