// The record of a run: the machine, the commit, the date and every row; and the table on the screen.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { packageRoot } from '../lib/native-loader.js'
import { formatTable } from '../lib/report/table.js'
import { type Row, type Verdict, verdictOf } from './bench.js'

export interface BenchRecord {
  date: string
  commit: string
  /** Files differ from the commit. */
  changed: boolean
  node: string
  /** `isa`: the instruction set of the CPU, or the name of the card. */
  machine: { cpu: string; cores: number; memoryGiB: number; isa: string; threads: number }
  /** The machine's load when the run began and ended: above `threads`, others were at work. */
  load: { before: number; after: number }
  onednn: string | null
  pytorch: string | null
  options: { quick: boolean; only: string | null }
  /** Medians over the run: GFLOP/s and GB/s. */
  roofs: Record<string, number>
  rows: (Row & { verdict?: Verdict })[]
}

export function machineOf(isa: string, threads: number): BenchRecord['machine'] {
  return {
    cpu: processorName(),
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    isa,
    threads,
  }
}

function processorName(): string {
  const name = cpus()[0]?.model.trim() ?? 'unknown'
  try {
    const info = readFileSync('/proc/cpuinfo', 'utf8')
    const field = (key: string) => new RegExp(`^${key}\\s*:\\s*(\\S.*)$`, 'm').exec(info)?.[1]
    const family = field('cpu family')
    // A virtual machine may hide the model's name; family and model tell it apart.
    return family ? `${name} (family ${family}, model ${field('model')})` : name
  } catch {
    return name
  }
}

export function currentLoad(): number {
  return Math.round((loadavg()[0] as number) * 100) / 100
}

export function commitOf(): Pick<BenchRecord, 'commit' | 'changed'> {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', packageRoot, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  try {
    return { commit: git('rev-parse', 'HEAD').trim(), changed: git('status', '--porcelain', '-uno') !== '' }
  } catch {
    return { commit: 'unknown', changed: false }
  }
}

export function withVerdicts(rows: readonly Row[]): BenchRecord['rows'] {
  return rows.map(row => {
    const verdict = verdictOf(row)
    return verdict ? { ...row, verdict } : row
  })
}

export function writeRecord(path: string, record: BenchRecord): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(record, rounded, 2)}\n`)
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}

const columns = [
  'case',
  'time',
  '20 %',
  '80 %',
  'rate',
  'roof',
  'of roof',
  'quiet',
  'floor',
  'aim',
  '',
  'busy',
]
const marks: Record<Verdict, string> = { aim: 'aim', floor: 'ok', below: 'BELOW' }

/** One table of all rows, a line between groups. */
export function tableOf(rows: readonly Row[], style: 'unicode' | 'ascii'): string {
  const linesBefore = rows.flatMap((row, i) => (i > 0 && row.group !== rows[i - 1]?.group ? [i] : []))
  return formatTable(columns, rows.map(cellsOf), { style, linesBefore })
}

export function cellsOf(row: Row): string[] {
  const { seconds, rate, roof, result, target } = row
  const verdict = verdictOf(row)
  const amount = (value: number | undefined) =>
    value === undefined || result === undefined ? '' : formatAmount(value, result.unit)
  return [
    row.name,
    seconds ? formatSeconds(seconds.median) : '',
    seconds ? formatSeconds(seconds.q20) : '',
    seconds ? formatSeconds(seconds.q80) : '',
    rate ? `${formatNumber(rate.value)} ${rate.unit}` : '',
    roof ? formatNumber(roof.value) : '',
    amount(result?.value),
    amount(result?.best),
    amount(target?.floor),
    amount(target?.aim),
    verdict ? marks[verdict] : '',
    seconds ? seconds.others.toFixed(1) : '',
  ]
}

function formatSeconds(seconds: number): string {
  if (seconds < 1e-3) return `${formatNumber(seconds * 1e6)} us`
  return seconds < 1 ? `${formatNumber(seconds * 1e3)} ms` : `${formatNumber(seconds)} s`
}

function formatAmount(value: number, unit: NonNullable<Row['result']>['unit']): string {
  if (unit === 'share') return value.toFixed(2)
  return unit === 'times' ? `${value.toFixed(2)} x` : `${formatNumber(value)} ${unit}`
}

function formatNumber(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
