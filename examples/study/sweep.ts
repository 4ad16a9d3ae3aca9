// The sweep: for every method three learning rates, then two more values of one knob of its own, on validation prompts.
import { join } from 'node:path'
import { stringify } from 'yaml'
import { readCompareFile } from '../../lib/cli/compare.js'
import { type CompareEvent, type CompareResult, compare } from '../../lib/compare/compare.js'
import { merged } from '../../lib/compare/compare-config.js'
import { percentText } from '../../lib/compare/tables.js'
import { writeFileDurable } from '../../lib/io/atomic.js'
import { formatTable } from '../../lib/report/table.js'

type Options = Record<string, unknown>

interface Swept {
  learningRate: number[]
  /** Options of the method that are not swept. */
  usual?: Options
  knob: string
  /** With what the tables call them; the first stands while the learning rate is swept. */
  values: (Options & { name: string })[]
}

interface Try {
  method: string
  learningRate: number
  value: string
}

const nameOf = ({ method, learningRate, value }: Try) => `${method}, rate ${learningRate}, ${value}`

export interface SweepContext {
  folder: string
  out: string
  results: string
  jobs?: number | undefined
  signal: AbortSignal
  onEvent: (event: CompareEvent) => void
}

/** Runs the sweep, writes its tables and methods.yaml, and returns the table. */
export async function sweep({ folder, out, results, jobs, signal, onEvent }: SweepContext): Promise<string> {
  const { methods, seeds } = (await readCompareFile(join(folder, 'sweep.yaml'))) as unknown as {
    methods: Record<string, Swept>
    seeds: number[]
  }
  const {
    perMethod: _,
    speed: __,
    columns: ___,
    ...common
  } = await readCompareFile(join(folder, 'common.yaml'))
  const optionsOf = ({ method, learningRate, value }: Try): Options => {
    const { usual = {}, values } = methods[method] as Swept
    const { name: _, ...options } = values.find(({ name }) => name === value) ?? {}
    return merged(merged(usual, options), { method, learningRate })
  }
  const runTries = async (name: string, tries: readonly Try[]): Promise<CompareResult> => {
    const config = merged(common, {
      name,
      outputDir: out,
      seeds,
      ...(jobs === undefined ? {} : { jobs }),
      defaults: {
        task: { heldOut: 'validation', testSize: 400, sets: ['id', 'hard', 'narr', 'wide', 'oth', 'q'] },
      },
      columns: { ID: ['id'], hard: ['hard'], OOD: ['narr', 'wide', 'oth', 'q'] },
      methods: tries.map(each => ({ label: nameOf(each), ...optionsOf(each), evalSteps: 0 })),
    })
    const result = await compare(config, { signal, onEvent })
    if (result.failed.length > 0) throw new Error(result.failed.map(({ message }) => message).join('; '))
    return result
  }
  const byMethod = Object.entries(methods)
  const rates = byMethod.flatMap(([method, { learningRate, values }]) =>
    learningRate.map(rate => ({ method, learningRate: rate, value: values[0]?.name ?? '' })),
  )
  const first = await runTries('sweep-rate', rates)
  const knobs = byMethod.flatMap(([method, { values }]) => {
    const { learningRate } = best(rates, first, method)
    return values.slice(1).map(({ name }) => ({ method, learningRate, value: name }))
  })
  const second = await runTries('sweep-knob', knobs)
  const all = [...rates, ...knobs]
  const result = { ...first, methods: [...first.methods, ...second.methods] }
  const chosen = byMethod.map(([method]) => best(all, result, method))
  await writeMethods(join(folder, 'methods.yaml'), chosen, optionsOf)
  const table = tableOf(all, result, chosen, methods)
  const records = [...first.records, ...second.records].map(({ label, seed, hash, evaluations }) => ({
    label,
    seed,
    hash,
    accuracy: evaluations.at(-1)?.accuracy,
  }))
  const lines = records.map(record => `  ${JSON.stringify(record)}`).join(',\n')
  await writeFileDurable(
    join(results, 'sweep.json'),
    `{"seeds": ${JSON.stringify(seeds)}, "chosen": ${JSON.stringify(chosen)}, "runs": [\n${lines}\n]}\n`,
  )
  const heading = [
    '# The sweep',
    `Accuracy in percent on validation prompts after the last step, seeds ${seeds.join(', ')}. ` +
      'Chosen by the first column; a tie goes to the earlier line.',
  ]
  await writeFileDurable(join(results, 'sweep.md'), `${[...heading, table].join('\n\n')}\n`)
  return table
}

function best(tries: readonly Try[], result: CompareResult, method: string): Try {
  const accuracy = (each: Try) =>
    result.methods.find(({ label }) => label === nameOf(each))?.columns.ID?.mean ?? -1
  const own = tries.filter(each => each.method === method)
  return own.reduce((winner, each) => (accuracy(each) > accuracy(winner) ? each : winner))
}

function tableOf(
  tries: readonly Try[],
  result: CompareResult,
  chosen: readonly Try[],
  methods: Record<string, Swept>,
): string {
  const ordered = Object.keys(methods).flatMap(method => tries.filter(each => each.method === method))
  return formatTable(
    [
      'method',
      'learning rate',
      { header: 'knob', align: 'left' },
      'ID',
      'hard',
      'OOD',
      { header: '', align: 'left' },
    ],
    ordered.map(each => {
      const columns = result.methods.find(({ label }) => label === nameOf(each))?.columns ?? {}
      return [
        each.method,
        String(each.learningRate),
        `${methods[each.method]?.knob} ${each.value}`,
        percentText(columns.ID),
        percentText(columns.hard),
        percentText(columns.OOD),
        chosen.some(one => nameOf(one) === nameOf(each)) ? 'chosen' : '',
      ]
    }),
    { style: 'markdown' },
  )
}

async function writeMethods(
  path: string,
  chosen: readonly Try[],
  optionsOf: (each: Try) => Options,
): Promise<void> {
  const perMethod = Object.fromEntries(
    chosen.map(each => {
      const { method, ...rest } = optionsOf(each)
      return [method, rest]
    }),
  )
  const head = '# Options of each method, written by `npm run study -- sweep`: results/sweep.md says why.\n'
  await writeFileDurable(path, head + stringify({ perMethod }))
}
