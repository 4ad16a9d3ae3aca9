// Means, errors, steps to an accuracy, and what is read from a run's metrics: against sums written out by hand.
import test from 'ava'
import { type RunRecord, recordOf } from '../../lib/compare/run-record.js'
import { accuracyAt, baseSummary, estimate, stepsTo, summarize } from '../../lib/compare/summary.js'
import { mainTable, percentText, speedTable } from '../../lib/compare/tables.js'

function record(label: string, seed: number, curve: [step: number, id: number, far: number][]): RunRecord {
  return {
    label,
    seed,
    hash: `${label}${seed}`,
    evaluations: curve.map(([step, id, far]) => ({ step, accuracy: { id, far } })),
    intervals: [],
    trainedTokens: 1000 * seed,
    sampledTokens: 500,
    seconds: seed,
  }
}

test('mean and standard error are those of the formulas in float64', t => {
  const values = [0.31, 0.98, 0.5, 0.77, 0.123]
  // Written out: sum / 5, and the root of the sum of squares / (4 * 5).
  const mean = (0.31 + 0.98 + 0.5 + 0.77 + 0.123) / 5
  const squares =
    (0.31 - mean) ** 2 + (0.98 - mean) ** 2 + (0.5 - mean) ** 2 + (0.77 - mean) ** 2 + (0.123 - mean) ** 2
  const result = estimate(values)
  t.true(Math.abs((result?.mean ?? 0) - mean) < 1e-15)
  t.true(Math.abs((result?.standardError ?? 0) - Math.sqrt(squares / 20)) < 1e-15)
  t.is(result?.runs, 5)
  // Of 1, 2, 3, 4: standard deviation 1.2909944487358056, over 2.
  t.true(Math.abs((estimate([1, 2, 3, 4])?.standardError ?? 0) - 0.6454972243679028) < 1e-15)
  t.deepEqual(estimate([0.5]), { mean: 0.5, standardError: undefined, runs: 1 })
  t.is(estimate([]), undefined)
})

test('an accuracy is the mean of its sets at a step, and missing where one of them is', t => {
  const run = record('a', 1, [
    [0, 0, 0.5],
    [10, 0.4, 0.2],
  ])
  t.is(accuracyAt(run, ['id']), 0.4)
  t.true(Math.abs((accuracyAt(run, ['id', 'far']) ?? 0) - 0.3) < 1e-15)
  t.is(accuracyAt(run, ['id', 'far'], 0), 0.25)
  t.is(accuracyAt(run, ['id'], 5), undefined)
  t.is(accuracyAt(run, ['id', 'other']), undefined)
})

test('steps to an accuracy lie on the line between two evaluations; the first crossing counts', t => {
  const run = record('a', 1, [
    [0, 0.1, 0],
    [20, 0.5, 0],
    [40, 0.9, 0],
    [60, 0.3, 0],
    [80, 1, 0],
  ])
  t.is(stepsTo(run, ['id'], 0.75), 32.5)
  t.is(stepsTo(run, ['id'], 0.5), 20)
  t.is(stepsTo(run, ['id'], 0.05), 0)
  t.is(stepsTo(run, ['id'], 1), 80)
  t.is(stepsTo(run, ['far'], 0.75), undefined)
})

test('a summary holds means over seeds, the failed runs, and how many reached the accuracy', t => {
  const records = [
    record('a', 1, [
      [0, 0, 0.4],
      [10, 0.9, 0.2],
    ]),
    record('a', 2, [
      [0, 0.1, 0.6],
      [10, 0.7, 0.4],
    ]),
    record('b', 1, [
      [0, 0, 0.4],
      [10, 0.2, 0.4],
    ]),
  ]
  const columns = { ID: ['id'], all: ['id', 'far'] }
  const speed = { column: 'ID', accuracy: 0.75, atSteps: [0, 10] }
  const [a, b] = summarize(['a', 'b'], records, [{ label: 'b' }], { columns, speed })
  t.is(a?.runs, 2)
  t.true(Math.abs((a?.columns.ID?.mean ?? 0) - 0.8) < 1e-15)
  t.true(Math.abs((a?.columns.ID?.standardError ?? 0) - 0.1) < 1e-12)
  t.true(Math.abs((a?.columns.all?.mean ?? 0) - 0.55) < 1e-15)
  t.is(a?.stepsTo?.reached, 1)
  t.true(Math.abs((a?.stepsTo?.estimate?.mean ?? 0) - 7.5 / 0.9) < 1e-12)
  t.true(Math.abs((a?.atSteps?.[0]?.mean ?? 0) - 0.05) < 1e-15)
  t.is(a?.trainedTokens?.mean, 1500)
  t.is(b?.failed, 1)
  t.is(b?.columns.ID?.standardError, undefined)

  // The base is the same for all methods: a seed counts once.
  const before = baseSummary(records, columns)
  t.is(before.ID?.runs, 2)
  t.true(Math.abs((before.ID?.mean ?? 0) - 0.05) < 1e-15)

  const table = mainTable(
    [a, b].filter(each => each !== undefined),
    before,
    'markdown',
  )
  t.regex(table, /^\| \(before\) +\| +5\.0 ± 5\.0 \|/m)
  t.regex(table, /^\| a +\| +80\.0 ± 10\.0 \| +55\.0 ± 0\.0 \| +1\.50k \| +500 \| +1\.5 s \| +2 \|$/m)
  t.regex(table, /^\| b +\| +20\.0 \|.*\| +1, 1 failed \|$/m)
  const speeds = speedTable(
    [a, b].filter(each => each !== undefined),
    speed,
    'ascii',
  )
  t.regex(speeds, /^a +\| +8 \| +1 of 2 \| +5\.0 \+- 5\.0 \| +80\.0 \+- 10\.0$/m)
  t.regex(speeds, /^b +\| +- \| +0 of 1 /m)
  t.is(percentText(undefined), '-')
})

test('a record sums tokens and seconds of steps, not of evaluations, and takes means between evaluations', t => {
  const rows: Record<string, number | null>[] = [
    { step: 0, 'eval_accuracy/id': 0.1 },
    {
      step: 1,
      reward: 0,
      entropy: 1,
      num_tokens: 10,
      step_time: 0.5,
      'perf/rollout_s': 2,
      'perf/sampled_tokens_per_second': 4,
    },
    {
      step: 2,
      reward: 0.5,
      entropy: null,
      num_tokens: 30,
      step_time: 0.25,
      'perf/rollout_s': 1,
      'perf/sampled_tokens_per_second': 3,
    },
    { step: 2, 'eval_accuracy/id': 0.3, 'eval_accuracy/far': null },
    // A step without any advantage trains on nothing, and says no total.
    { step: 3, reward: 1, step_time: 0.25, 'perf/rollout_s': 1, 'perf/sampled_tokens_per_second': 5 },
  ]
  t.deepEqual(recordOf(rows), {
    evaluations: [
      { step: 0, accuracy: { id: 0.1 } },
      { step: 2, accuracy: { id: 0.3 } },
    ],
    intervals: [{ step: 2, reward: 0.25, entropy: 1 }],
    trainedTokens: 30,
    sampledTokens: 16,
    seconds: 1,
  })
  // The means are over the steps since the evaluation before, not over all of them.
  const later = recordOf([...rows, { step: 3, 'eval_accuracy/id': 0.5 }])
  t.deepEqual(later.intervals, [
    { step: 2, reward: 0.25, entropy: 1 },
    { step: 3, reward: 1 },
  ])
})
