// `luffy data inspect`: what a file of prompts and demonstrations holds, and the first rows as the model will see them.
import { type DataReport, inspectData } from '../data/inspect.js'
import { emptyDemonstration, unreadableAnswer } from '../data/prompt-format.js'
import type { DataColumns } from '../data/rows.js'
import { defaultColumns } from '../data/rows.js'
import { ConfigError } from '../errors.js'
import { unknownNameError } from '../options.js'
import { formatTable } from '../report/table.js'
import { printable } from '../report/text.js'
import { namedRewards, type RewardName } from '../rewards/named-rewards.js'
import { promptFormat } from '../training/data-task.js'
import { print, tableStyle } from './terminal.js'

export interface DataInspectOptions {
  tokenizer: string | undefined
  template: string
  /** `prompt=question` and the like. */
  column: readonly string[]
  reward: string
  maxPromptLength: number | undefined
  maxCompletionLength: number | undefined
  rows: number
  sample: number
  skipBadRows: boolean
  json: boolean
}

const shownCharacters = 2000

export async function runDataInspect(path: string, options: DataInspectOptions): Promise<number> {
  const format =
    options.tokenizer === undefined ? undefined : await promptFormat(options.tokenizer, options.template)
  if (format === undefined && (options.maxPromptLength ?? options.maxCompletionLength) !== undefined) {
    throw new ConfigError('--max-prompt-length and --max-completion-length: expected --tokenizer too')
  }
  if (!Object.hasOwn(namedRewards, options.reward)) {
    throw unknownNameError(options.reward, '--reward', Object.keys(namedRewards))
  }
  const { isReadable } = namedRewards[options.reward as RewardName]
  const filters = [unreadableAnswer(isReadable), emptyDemonstration]
  if (format && options.maxPromptLength) filters.push(format.promptTooLong(options.maxPromptLength))
  if (format && options.maxCompletionLength) {
    filters.push(format.demonstrationTooLong(options.maxCompletionLength))
  }
  const report = await inspectData(path, {
    columns: columnsOf(options.column),
    format,
    filters,
    first: options.rows,
    sample: options.sample,
    skipBadRows: options.skipBadRows,
  })
  print(options.json ? JSON.stringify(report) : reportAsText(report))
  return 0
}

function columnsOf(given: readonly string[]): Partial<DataColumns> {
  const columns: Partial<DataColumns> = {}
  for (const entry of given) {
    const at = entry.indexOf('=')
    const name = entry.slice(0, Math.max(0, at))
    if (!Object.hasOwn(defaultColumns, name) || at === entry.length - 1) {
      const names = Object.keys(defaultColumns).join(', ')
      throw new ConfigError(`--column ${entry}: expected one of ${names}, = and the name of a column`)
    }
    columns[name as keyof DataColumns] = entry.slice(at + 1)
  }
  return columns
}

export function reportAsText(report: DataReport): string {
  const style = { style: tableStyle() }
  const counts = Object.entries(report.dropped).map(([name, count]) => [`left out: ${name}`, String(count)])
  const sources = Object.entries(report.sources).map(([name, count]) => [
    `source ${printable(name, 40)}`,
    String(count),
  ])
  const parts = [
    `${printable(report.path)}: ${report.format}, ${report.rows} rows in ${report.blocks} ${report.blocks === 1 ? 'block' : 'blocks'}`,
    formatTable(
      ['column', { header: 'type', align: 'left' }],
      report.columns.map(({ name, type }) => [printable(name, 40), printable(type, 100)]),
      style,
    ),
    formatTable(
      ['rows', 'count'],
      [
        ['kept', String(report.kept)],
        ...counts,
        ['with a demonstration', String(report.demonstrations)],
        ['with an answer', String(report.answers)],
        ...sources,
      ],
      style,
    ),
    formatTable(
      [report.unit, 'measured', 'least', 'median', '90 %', '99 %', 'most'],
      Object.entries(report.lengths).flatMap(([name, lengths]) =>
        lengths === undefined ? [] : [[name, ...Object.values(lengths).map(String)]],
      ),
      style,
    ),
    ...report.first.map(({ where, prompt, demonstration, answer }) =>
      [
        printable(where),
        `  prompt         ${printable(prompt, shownCharacters)}`,
        `  demonstration  ${demonstration === null ? '-' : printable(demonstration, shownCharacters)}`,
        `  answer         ${answer === null ? '-' : printable(answer, shownCharacters)}`,
      ].join('\n'),
    ),
  ]
  return parts.join('\n\n')
}
