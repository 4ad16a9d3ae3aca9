// `luffy report`: run folders in, one page out.
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
  const result = await writeReport({ runs: folders.map(folder => ({ folder })), ...rest })
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
