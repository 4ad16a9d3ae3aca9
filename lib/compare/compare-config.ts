// The configuration of a comparison: methods, seeds, one base policy, and what the tables show.
import { z } from 'zod'
import { ConfigError } from '../errors.js'
import { isForbiddenName } from '../options.js'

const options = z.record(z.string(), z.unknown())
const component = z
  .string()
  .refine(name => /^[^/\\\0]+$/.test(name) && name !== '.' && name !== '..', 'expected one path component')

const schema = z.strictObject({
  /** Folder of the results inside outputDir. */
  name: component.default('compare'),
  outputDir: z.string().min(1).default('runs'),
  /** A Hugging Face folder, or options of a recipe, from which the base is made once and kept. */
  base: z.union([z.string().min(1), options]).default({}),
  /** A JavaScript module with a task of your own: `makeTask(options)`, and `makeBase(options)` where `base` is a recipe. */
  module: z.string().min(1).optional(),
  /** Methods by name, or with a label and options of their own. */
  methods: z.array(z.union([z.string(), z.looseObject({ label: z.string().min(1).optional() })])).min(1),
  seeds: z.array(z.int().min(0)).min(1).default([1, 2, 3, 4, 5]),
  /** Options of `luffy train` for all methods. */
  defaults: options.default({}),
  /** Options of `luffy train` by method, over the defaults. */
  perMethod: z.record(z.string(), options).default({}),
  /** Runs at a time. Default: the cores. */
  jobs: z.int().min(1).max(256).optional(),
  /** Columns of the table: the mean of some evaluation sets each. Default: by task. */
  columns: z.record(z.string().min(1), z.array(z.string()).min(1)).optional(),
  /** Adds the steps after which a column's accuracy is reached, and its accuracy at fixed steps. */
  speed: z
    .strictObject({
      column: z.string(),
      accuracy: z.number().gt(0).lt(1).default(0.75),
      atSteps: z.array(z.int().min(0)).default([]),
    })
    .optional(),
})

export type CompareConfig = z.input<typeof schema>
export type ResolvedCompareConfig = z.output<typeof schema>

/** Options that a comparison sets itself. */
const reserved = ['model', 'seed', 'outputDir', 'runName', 'resume', 'threads'] as const

/** Checks a comparison's configuration. Throws one ConfigError that lists every mistake. */
export function resolveCompareConfig(config: unknown): ResolvedCompareConfig {
  const result = schema.safeParse(config)
  if (!result.success) {
    const mistakes = result.error.issues.map(issue =>
      issue.code === 'unrecognized_keys'
        ? `unknown option ${issue.keys.map(key => JSON.stringify([...issue.path, key].join('.'))).join(', ')}`
        : `${issue.path.join('.') || 'the configuration'}: ${issue.message}`,
    )
    throw new ConfigError(`comparison: ${mistakes.join('; ')}`, { details: { mistakes } })
  }
  const resolved = result.data
  const mistakes: string[] = []
  if (new Set(resolved.seeds).size < resolved.seeds.length) mistakes.push('seeds: expected each one once')
  const labels = resolved.methods.map(labelOf)
  const twice = labels.find((label, i) => labels.indexOf(label) !== i)
  if (twice !== undefined)
    mistakes.push(`methods: expected different labels, got ${JSON.stringify(twice)} twice`)
  for (const [where, given] of [
    ['defaults', resolved.defaults] as const,
    ...Object.entries(resolved.perMethod).map(([name, own]) => [`perMethod.${name}`, own] as const),
    ...resolved.methods.map((method, i) => [`methods[${i}]`, method] as const),
  ]) {
    if (typeof given === 'string') continue
    for (const name of reserved) {
      if (Object.hasOwn(given, name)) mistakes.push(`${where}.${name}: is set by the comparison`)
    }
  }
  const { speed, columns } = resolved
  if (speed !== undefined && columns !== undefined && !Object.hasOwn(columns, speed.column)) {
    mistakes.push(`speed.column: expected one of ${Object.keys(columns).join(', ')}`)
  }
  if (mistakes.length > 0) {
    throw new ConfigError(`comparison: ${mistakes.join('; ')}`, { details: { mistakes } })
  }
  return resolved
}

export type MethodEntry = ResolvedCompareConfig['methods'][number]

/** What a method is called in the tables. */
export function labelOf(entry: MethodEntry): string {
  if (typeof entry === 'string') return entry
  const { label, method } = entry as { label?: string; method?: unknown }
  return label ?? (typeof method === 'string' ? method : 'luffy')
}

/** Options of a method's runs: the defaults, over them those by method, over them the entry's own. */
export function optionsOf(
  entry: MethodEntry,
  { defaults, perMethod }: Pick<ResolvedCompareConfig, 'defaults' | 'perMethod'>,
): Record<string, unknown> {
  const own: Record<string, unknown> = typeof entry === 'string' ? { method: entry } : { ...entry }
  delete own.label
  const under = merged(defaults, own)
  const method = typeof under.method === 'string' ? under.method : 'luffy'
  const byMethod = Object.hasOwn(perMethod, method) ? perMethod[method] : undefined
  return merged(merged(defaults, byMethod ?? {}), own)
}

/** `over` in place of `under`, groups of options by member. */
export function merged(
  under: Record<string, unknown>,
  over: Record<string, unknown>,
): Record<string, unknown> {
  const result: Record<string, unknown> = { ...under }
  for (const [name, value] of Object.entries(over)) {
    if (isForbiddenName(name)) throw new ConfigError(`the name ${JSON.stringify(name)} is not allowed`)
    const old = result[name]
    result[name] = isGroup(old) && isGroup(value) ? merged(old, value) : value
  }
  return result
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
