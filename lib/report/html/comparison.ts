// The folder of a comparison as what to report: its runs, with its labels and its table. `luffy compare` writes its page
// with it, and `luffy report` reads such a folder back.
import { basename, dirname, join } from 'node:path'
import { CheckpointError } from '../../errors.js'
import { exists, readRegularFile } from '../../io/regular-file.js'
import type { MethodAccuracy, ReportOptions, ReportRun } from './report-data.js'

/** What of a comparison's result its page is made of. */
export interface ReportedComparison {
  name: string
  records: readonly { label: string; seed: number }[]
  /** Run folders, in the order of the records. */
  folders: readonly string[]
  methods: readonly {
    label: string
    columns: Readonly<
      Record<string, { mean: number; standardError?: number | undefined; runs: number } | undefined>
    >
  }[]
}

const mostBytes = 2 ** 26

export function comparisonReport(
  result: ReportedComparison,
): Pick<ReportOptions, 'title' | 'runs' | 'accuracies' | 'accuracyNote'> {
  return {
    title: result.name,
    runs: result.records.map(
      ({ label, seed }, i): ReportRun => ({
        folder: result.folders[i] ?? '',
        method: label,
        seed,
      }),
    ),
    accuracies: result.methods.flatMap(({ label, columns }) =>
      Object.entries(columns).flatMap(([set, value]): MethodAccuracy[] => {
        if (value === undefined) return []
        const { mean, standardError, runs } = value
        return [{ method: label, set, mean, runs, ...(standardError === undefined ? {} : { standardError }) }]
      }),
    ),
    accuracyNote: 'Held-out prompts, after the last step.',
  }
}

/**
 * The comparison whose folder it is; undefined where compare.json is not there.
 *
 * @throws {CheckpointError} where compare.json is not what `luffy compare` writes, or names no finished run
 */
export async function readComparison(folder: string): Promise<ReportedComparison | undefined> {
  const path = join(folder, 'compare.json')
  if (!(await exists(path))) return undefined
  const bytes = await readRegularFile(path, mostBytes, { error: CheckpointError })
  let result: ReportedComparison
  try {
    result = checked(JSON.parse(bytes.toString('utf8')) as ReportedComparison)
  } catch (error) {
    throw new CheckpointError(`${path}: is not what luffy compare writes`, { path, cause: error })
  }
  if (result.records.length === 0) {
    throw new CheckpointError(`${folder}: no run of this comparison is finished`, {
      path: folder,
      hint: 'luffy compare goes on with it',
    })
  }
  // Its folders are as seen from where it was made; a comparison that was moved has them beside it.
  const folders = await Promise.all(
    result.folders.map(async run =>
      (await exists(run)) ? run : join(dirname(folder), 'runs', basename(run)),
    ),
  )
  return { ...result, folders }
}

// The page reads these values; whoever wrote the file may have written others.
function checked(result: ReportedComparison): ReportedComparison {
  const { name, records, folders, methods } = result
  const right =
    typeof name === 'string' &&
    records.every(({ label, seed }) => typeof label === 'string' && Number.isSafeInteger(seed)) &&
    folders.every(folder => typeof folder === 'string') &&
    folders.length === records.length &&
    methods.every(
      ({ label, columns }) =>
        typeof label === 'string' &&
        Object.values(columns).every(value => value === undefined || Number.isFinite(value.mean)),
    )
  if (!right) throw new TypeError('expected name, records, folders and methods')
  return result
}
