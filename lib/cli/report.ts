// `luffy report`: run folders in, one page out.
import { join, resolve } from 'node:path'
import { comparisonReport, readComparison } from '../report/html/comparison.js'
import type { ReportOptions, ReportRun } from '../report/html/report-data.js'
import { writeReport } from '../report/html/write-report.js'
import { printable } from '../report/text.js'
import { note, print } from './terminal.js'

export interface ReportCommandOptions {
  out?: string
  svg?: string
  title?: string
  json: boolean
}

const mostNotices = 10

export async function runReport(folders: readonly string[], options: ReportCommandOptions): Promise<number> {
  const { json, ...rest } = options
  const result = await writeReport({ ...(await reportedBy(folders)), ...rest })
  for (const notice of result.notices.slice(0, mostNotices)) note(notice)
  if (result.notices.length > mostNotices) note(`and ${result.notices.length - mostNotices} more`)
  if (json) print(JSON.stringify(result))
  else {
    print(`${printable(result.file)}: ${(result.bytes / 1024).toFixed(0)} KiB`)
    if (result.pictures.length > 0)
      print(`${result.pictures.length} pictures in ${printable(options.svg ?? '')}`)
  }
  return 0
}

/** The runs of the folders, each once; a comparison's folder stands for its runs, and alone for its table as well. */
async function reportedBy(folders: readonly string[]): Promise<ReportOptions> {
  const unique = [...new Map(folders.map(folder => [resolve(folder), folder])).values()]
  const comparisons = await Promise.all(unique.map(readComparison))
  const [only] = comparisons
  if (unique.length === 1 && only !== undefined) {
    return { ...comparisonReport(only), out: join(unique[0] as string, 'report.html') }
  }
  const runs = unique.flatMap((folder, i): readonly ReportRun[] => {
    const comparison = comparisons[i]
    return comparison === undefined ? [{ folder }] : comparisonReport(comparison).runs
  })
  // Where the page is written does not hang on what a comparison's first run is.
  return { runs, out: join(unique[0] ?? '', 'report.html') }
}
