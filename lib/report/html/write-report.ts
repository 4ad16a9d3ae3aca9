// `luffy report` as a function: run folders in, one page and its pictures out.
import { dirname, join } from 'node:path'
import { makeFolder, writeFileDurable } from '../../io/atomic.js'
import { checkArray, checkObject, checkOptions, checkPath, checkString } from '../../options.js'
import { standaloneSvg } from './chart.js'
import { mean, standardError } from './curves.js'
import { figuresOf } from './figures/index.js'
import { accuracyMetric, byMethod, evaluationSets, type Method, type ReportModel } from './model.js'
import { pageOf } from './page.js'
import { readCompletions } from './read-completions.js'
import { readRun } from './read-run.js'
import type { MethodAccuracy, ReportOptions, ReportResult, ReportRun } from './report-data.js'

const optionNames = ['runs', 'accuracies', 'accuracyNote', 'title', 'out', 'svg'] as const

/**
 * Writes one HTML file about runs, whole in itself, and the pictures as SVG files where a folder is given for them.
 * Runs of the same method are seen as seeds of it.
 *
 * @throws {CheckpointError} for a folder that is not there or holds nothing of a run, and where a file cannot be written
 * @throws {TypeError | RangeError | ConfigError} for options that are wrong
 */
export async function writeReport(options: ReportOptions): Promise<ReportResult> {
  const { runs, accuracies, accuracyNote, title, out, svg } = checked(options)
  const read = []
  for (const run of runs) read.push(await readRun(run))
  const notices = read.flatMap(run => run.notices)
  const methods = byMethod(
    read,
    (accuracies ?? []).map(({ method }) => method),
  )
  const model: ReportModel = { methods, accuracies: accuracies ?? lastAccuracies(methods), accuracyNote }
  const figures = figuresOf(model)
  const named = methods.flatMap(method =>
    method.runs.map(run => ({
      run,
      name:
        run.seed === undefined || method.runs.length < 2 ? method.name : `${method.name}, seed ${run.seed}`,
    })),
  )
  const completions = await readCompletions(named, notices)
  const page = pageOf({ title: title ?? defaultTitle(methods), model, figures, completions, notices })
  const file = out ?? join((runs[0] as ReportRun).folder, 'report.html')
  await makeFolder(dirname(file))
  await writeFileDurable(file, page)
  return { file, bytes: Buffer.byteLength(page), pictures: await writePictures(svg, figures), notices }
}

async function writePictures(
  folder: string | undefined,
  figures: ReturnType<typeof figuresOf>,
): Promise<string[]> {
  if (folder === undefined) return []
  await makeFolder(folder)
  const written: string[] = []
  for (const { title, panels } of figures) {
    for (const panel of panels) {
      // Two names may become the same word.
      let file = join(folder, `${panel.id}.svg`)
      for (let n = 2; written.includes(file); n++) file = join(folder, `${panel.id}-${n}.svg`)
      const heading =
        panels.length > 1 && !title.includes(panel.title)
          ? `${shortTitle(title)}: ${panel.title}`
          : panel.title
      await writeFileDurable(file, standaloneSvg(panel.chart, heading))
      written.push(file)
    }
  }
  return written
}

function shortTitle(title: string): string {
  return title.includes(': ') ? (title.split(': ')[1] as string) : title
}

function defaultTitle(methods: readonly Method[]): string {
  const runs = methods.flatMap(method => method.runs)
  if (runs.length === 1) return `${methods[0]?.name}: ${runs[0]?.name}`
  return `${methods.map(method => method.name).join(', ')}: ${runs.length} runs`
}

/** The last evaluation of every run. */
function lastAccuracies(methods: readonly Method[]): MethodAccuracy[] {
  return evaluationSets(methods).flatMap(set =>
    methods.flatMap(method => {
      const values = method.runs.flatMap(run => {
        const last = (run.columns.get(accuracyMetric(set)) ?? []).findLast(([, y]) => Number.isFinite(y))
        return last === undefined ? [] : [last[1]]
      })
      if (values.length === 0) return []
      const error = standardError(values)
      return [
        {
          method: method.name,
          set,
          mean: mean(values),
          runs: values.length,
          ...(error === undefined ? {} : { standardError: error }),
        },
      ]
    }),
  )
}

function checked(options: ReportOptions): ReportOptions {
  const given = checkOptions(options, 'writeReport', optionNames)
  const runs = checkArray(given.runs, 'runs')
  if (runs.length === 0) throw new RangeError('runs: expected at least one run, got none')
  for (const [i, run] of runs.entries())
    checkPath(checkObject(run, `runs[${i}]`, '{ folder }').folder, `runs[${i}].folder`)
  for (const [i, value] of checkArray(given.accuracies ?? [], 'accuracies').entries()) {
    const accuracy = checkObject(value, `accuracies[${i}]`, '{ method, set, mean }')
    checkString(accuracy.method, `accuracies[${i}].method`)
    checkString(accuracy.set, `accuracies[${i}].set`)
    if (typeof accuracy.mean !== 'number') throw new TypeError(`accuracies[${i}].mean: expected a number`)
  }
  for (const name of ['out', 'svg'] as const) if (given[name] !== undefined) checkPath(given[name], name)
  for (const name of ['title', 'accuracyNote'] as const)
    if (given[name] !== undefined) checkString(given[name], name)
  return options
}
