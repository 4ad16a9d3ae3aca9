// The task that a configuration's data files make: their rows, the model's tokenizer and template, a reward by name.
import { basename, extname } from 'node:path'
import { DataSet, type OpenDataOptions } from '../data/data-set.js'
import { fingerprint } from '../data/fingerprint.js'
import { emptyDemonstration, PromptFormat, unreadableAnswer } from '../data/prompt-format.js'
import { type DataColumns, type DataRow, defaultColumns } from '../data/rows.js'
import { ConfigError, DataError, TemplateError } from '../errors.js'
import { readRegularFile } from '../io/regular-file.js'
import { resolveMethod } from '../methods/index.js'
import { luffyTemplate } from '../policy/luffy-template.js'
import { HuggingFaceTokenizer } from '../policy/tokenizer-hugging-face.js'
import { loadTokenizer } from '../policy/tokenizer-load.js'
import { CounterRandom } from '../random.js'
import { type NamedReward, namedRewards } from '../rewards/named-rewards.js'
import type { EvaluationSet, Task } from '../rewards/task.js'
import { momentAt } from './moment.js'
import { type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { resolveTrainerOptions } from './trainer-options.js'

export type DataConfig = ResolvedTrainConfig & { data: NonNullable<ResolvedTrainConfig['data']> }

const mostTemplateBytes = 1024 * 1024

/**
 * Opens the files and reads them once.
 *
 * @throws {DataError} naming the file, row and column of what cannot be read, or where no row is left
 * @throws {TokenizerError} for a tokenizer that cannot be read, TemplateError for a template that fails
 * @throws {ConfigError} where the model has no chat template and none is named
 */
export async function dataTask(config: DataConfig, signal?: AbortSignal): Promise<Task> {
  const { data } = config
  const format = await promptFormat(config.model, data.template)
  const { tokenizer } = format
  const reward: NamedReward = namedRewards[data.reward]
  const readable = unreadableAnswer(reward.isReadable)
  const open = (paths: string | string[], filters: OpenDataOptions['filters']) =>
    DataSet.open(paths, {
      columns: namedColumns(data.columns),
      skipBadRows: data.skipBadRows,
      strict: data.strict,
      windowRows: data.windowRows,
      filters: [readable, ...(filters ?? []), format.promptTooLong(data.maxPromptLength)],
      signal,
    })
  const demonstrated = resolveMethod(config.method).demonstrations && config.demonstrationsPerPrompt > 0
  const training = await open(data.train, [
    emptyDemonstration,
    ...(demonstrated && !config.truncateDemonstrations
      ? [format.demonstrationTooLong(config.maxCompletionLength)]
      : []),
  ])
  if (training.size === 0) {
    throw new DataError(`${training.paths.join(', ')}: no row is left; ${countsOf(training)}`)
  }
  // Some methods begin with another: that of the first step.
  const first = momentAt(resolveTrainerOptions(trainerOptionsOf(config)), 1).method
  const shown = first.demonstrations && config.demonstrationsPerPrompt > 0
  if (shown && training.demonstrations === 0) {
    throw new DataError(
      `${training.paths.join(', ')}: no row has a demonstration in column "${data.columns.demonstration}", ` +
        `from which ${first.name} learns; ${countsOf(training)}`,
      { hint: 'name the column in data.columns.demonstration, or use method grpo' },
    )
  }
  const held = data.eval === undefined ? undefined : await open(data.eval, [])
  const evaluations = held === undefined ? [] : await evaluationSets(held, format, data.evalRows)
  const score = reward.create({ endTexts: tokenizer.endIds.map(id => tokenizer.decode([id])) })
  return {
    name: 'data',
    tokenizer,
    training: [],
    batch: async (seed, count, step) => format.format(await training.batch(seed, count, step)),
    evaluations,
    reward: score,
    notices: [training, ...(held ? [held] : [])].map(
      set =>
        `${set.paths.join(', ')}: ${countsOf(set)}${set === training && shown ? withoutDemonstration(set) : ''}`,
    ),
    fingerprints: Object.fromEntries(
      await Promise.all(training.paths.map(async path => [path, await fingerprint(path)] as const)),
    ),
    dispose: async () => score.dispose?.(),
  }
}

/** The tokenizer of a model folder with a template by name: auto (the model's own), luffy, none, or a file. */
export async function promptFormat(model: string, template: string): Promise<PromptFormat> {
  const tokenizer = await loadTokenizer(model)
  if (template === 'none') return new PromptFormat(tokenizer, undefined)
  if (!(tokenizer instanceof HuggingFaceTokenizer)) {
    if (template === 'auto') return new PromptFormat(tokenizer, undefined)
    throw new ConfigError(`template: ${template}: the tokenizer of ${model} has one token per character`, {
      hint: 'use none',
    })
  }
  const named = await withNamedTemplate(tokenizer, template)
  if (named.chatTemplate === undefined) {
    throw new ConfigError(`template: ${model} has no chat template`, { hint: 'use luffy, none or a file' })
  }
  return new PromptFormat(named, named.chatTemplate)
}

async function withNamedTemplate(
  tokenizer: HuggingFaceTokenizer,
  template: string,
): Promise<HuggingFaceTokenizer> {
  if (template === 'auto') return tokenizer
  if (template === 'luffy') return tokenizer.withTemplate(luffyTemplate)
  const bytes = await readRegularFile(template, mostTemplateBytes, { error: TemplateError })
  return tokenizer.withTemplate(bytes.toString('utf8'))
}

/** Those that were chosen: the others need not be in the file. */
export function namedColumns(columns: DataColumns): Partial<DataColumns> {
  return Object.fromEntries(
    Object.entries(columns).filter(([what, path]) => path !== defaultColumns[what as keyof DataColumns]),
  )
}

/** `512 of 515 rows; left out: promptTooLong 3 (train.jsonl:7, ...)`. */
export function countsOf(set: DataSet): string {
  const dropped = Object.entries(set.dropped).filter(([, count]) => count > 0)
  const rowsOf = (name: string, count: number) => {
    const rows = set.droppedRows[name] ?? []
    return rows.length === 0 ? '' : ` (${rows.map(nameOf).join(', ')}${count > rows.length ? ', ...' : ''})`
  }
  const counts = dropped.map(([name, count]) => `${name} ${count}${rowsOf(name, count)}`).join(', ')
  return `${set.size} of ${set.totalRows} rows${counts === '' ? '' : `; left out: ${counts}`}`
}

// A group without a demonstration teaches as on-policy learning does: the user should know how many there are.
function withoutDemonstration({ size, demonstrations }: DataSet): string {
  return demonstrations === size ? '' : `; without a demonstration: ${size - demonstrations}`
}

// The folder stands before it already.
function nameOf(where: string): string {
  return where.slice(where.lastIndexOf('/') + 1)
}

/** One set per source; of each the same rows in every run. */
async function evaluationSets(set: DataSet, format: PromptFormat, most: number): Promise<EvaluationSet[]> {
  const bySource = new Map<string, DataRow[]>()
  const fallback = basename(set.paths[0] as string, extname(set.paths[0] as string))
  for await (const row of set.rows()) {
    const source = row.source ?? fallback
    const rows = bySource.get(source)
    if (rows === undefined) bySource.set(source, [row])
    else rows.push(row)
  }
  const sets: EvaluationSet[] = []
  for (const [name, rows] of bySource) {
    const chosen = new CounterRandom(0, 'data/evaluation').shuffle(rows).slice(0, most)
    sets.push({ name, items: await format.format(chosen) })
  }
  return sets
}
