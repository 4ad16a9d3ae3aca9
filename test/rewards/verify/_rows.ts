// The golden verdicts of Math-Verify 0.8.0, and processor time.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { goldenFolder } from '../../_helpers/golden.js'

export interface AnswerRow {
  kind: string
  gold: string
  prediction: string
  correct: boolean
}

export function readRows(name: string): AnswerRow[] {
  return readFileSync(join(goldenFolder, name), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as AnswerRow)
}

/** Half of the golds, chosen by their hash: agreement is asked of each half, so that neither carries the other. */
export function isSecondHalf(gold: string): boolean {
  return ((createHash('sha256').update(gold).digest()[0] as number) & 1) === 1
}

/** Milliseconds of processor time that a call takes. */
export function processorTime(call: () => void): number {
  const before = process.cpuUsage()
  call()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
