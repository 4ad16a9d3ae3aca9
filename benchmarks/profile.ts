// Time per op, for those who tune.
import type { OpTime } from '../lib/native.js'
import { formatTable } from '../lib/report/table.js'
import type { Bench } from './bench.js'

export function reportOps(bench: Bench, times: readonly OpTime[]): void {
  const total = times.reduce((sum, { seconds }) => sum + seconds, 0)
  const rows = times
    .filter(({ seconds }) => seconds > total / 1000)
    .map(({ op, count, seconds }) => [
      op,
      String(count),
      (seconds * 1e3).toFixed(2),
      `${((seconds / total) * 100).toFixed(1)} %`,
    ])
  bench.note(formatTable(['op', 'calls', 'ms', 'share'], rows, { style: 'ascii' }))
}
