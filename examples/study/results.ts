// What the study keeps of a comparison: the numbers of every run as JSON, the tables as Markdown.
import { join } from 'node:path'
import { type CompareResult, resultText } from '../../lib/compare/compare.js'
import type { ResolvedCompareConfig } from '../../lib/compare/compare-config.js'
import { mainTable } from '../../lib/compare/tables.js'
import { writeFileDurable } from '../../lib/io/atomic.js'
import { readJsonFile, readTextFile } from '../../lib/training/small-files.js'

/** A comparison as it is kept: without folders and times of this machine's calls. */
export type StudyResult = Pick<
  CompareResult,
  'name' | 'seeds' | 'columns' | 'methods' | 'before' | 'records'
> & {
  speed: ResolvedCompareConfig['speed']
  text: string
}

/** Writes name.json and name.md, and returns the tables as Markdown. */
export async function writeResult(
  results: string,
  result: CompareResult,
  config: ResolvedCompareConfig,
): Promise<string> {
  const { name, seeds, columns, methods, before, records } = result
  const text = resultText(result, config.speed, 'markdown')
  const lines = (list: readonly unknown[]) =>
    list.map(each => `  ${JSON.stringify(each, rounded)}`).join(',\n')
  const json =
    `{"name": ${JSON.stringify(name)}, "seeds": ${JSON.stringify(seeds)}, "columns": ${JSON.stringify(columns)},\n` +
    ` "speed": ${JSON.stringify(config.speed ?? null)}, "before": ${JSON.stringify(before, rounded)},\n` +
    ` "methods": [\n${lines(methods)}\n ],\n "records": [\n${lines(records)}\n ]}\n`
  await writeFileDurable(join(results, `${name}.json`), json)
  const setNames = Object.entries(columns).map(([column, sets]) => `${column}: ${sets.join(', ')}`)
  const words =
    `Accuracy in percent on held-out prompts after the last step, mean ± standard error over seeds ${seeds.join(', ')}. ` +
    `Columns: ${setNames.join('; ')}. Tokens and time per run on one thread, evaluations not counted.`
  await writeFileDurable(join(results, `${name}.md`), `${[`# ${name}`, words, text].join('\n\n')}\n`)
  return text
}

/** Six digits are more than a seed's noise. */
function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value
}

/** A kept comparison with its tables, and its name; undefined where it was not run. */
export async function readResult(
  results: string,
  name: string,
): Promise<readonly [string, StudyResult | undefined]> {
  const result = (await readJsonFile(join(results, `${name}.json`))) as StudyResult | undefined
  if (result === undefined) return [name, undefined]
  return [name, { ...result, text: (await readTextFile(join(results, `${name}.md`))) ?? '' }]
}

/** The rows of the main table that tell against LUFFY's lead over SFT, or for it, by what is demonstrated. */
const otherRows = {
  'few-demonstrations': '64 demonstrations',
  'clean-demonstrations': 'clean demonstrations',
}

/** The methods on the mixed prompts, and below them the rows with fewer and with clean demonstrations. */
export function combinedTable(results: ReadonlyMap<string, StudyResult | undefined>): string | undefined {
  const main = results.get('op-chains')
  if (main === undefined) return undefined
  const others = Object.entries(otherRows).flatMap(([name, words]) =>
    (results.get(name)?.methods ?? []).map(method => ({ ...method, label: `${method.label}, ${words}` })),
  )
  return mainTable([...main.methods, ...others], main.before, 'markdown')
}

/** One page of all tables that there are. */
export async function tablesOf(results: string, names: readonly string[], claims: string): Promise<void> {
  const kept = await Promise.all(names.map(name => readResult(results, name)))
  const missing = kept.flatMap(([name, result]) => (result === undefined ? [name] : []))
  const combined = combinedTable(new Map(kept))
  const parts = [
    '# Results of the study',
    'Written by `npm run study`. What they mean: [docs/study.md](../../../docs/study.md).',
    ...(combined === undefined ? [] : ['## The main table', combined]),
    '## Claims',
    claims,
    ...kept.flatMap(([, result]) => (result === undefined ? [] : [result.text.replace(/^# /, '## ').trim()])),
    ...(missing.length > 0 ? [`Not run: ${missing.join(', ')}.`] : []),
  ]
  await writeFileDurable(join(results, 'README.md'), `${parts.join('\n\n')}\n`)
}
