// Agreement with Math-Verify 0.8.0 on its own verdicts, and what a verdict costs.
import test from 'ava'
import { verifyAnswer } from '../../../lib/rewards/verify/verify-answer.js'
import { type AnswerRow, isSecondHalf, processorTime, readRows } from './_rows.js'

const files = [
  { name: 'answers.jsonl', rows: readRows('answers.jsonl'), least: 0.999 },
  { name: 'answers-hard.jsonl', rows: readRows('answers-hard.jsonl'), least: 0.993 },
]

function disagreements(rows: readonly AnswerRow[]): AnswerRow[] {
  return rows.filter(row => verifyAnswer(row.gold, row.prediction).correct !== row.correct)
}

for (const { name, rows, least } of files) {
  for (const half of ['first', 'second'] as const) {
    test(`${name}: the ${half} half of the golds`, t => {
      const mine = rows.filter(({ gold }) => isSecondHalf(gold) === (half === 'second'))
      t.true(mine.length > 1000, `only ${mine.length} rows`)
      const wrong = disagreements(mine)
      const share = 1 - wrong.length / mine.length
      const listed = wrong.slice(0, 5).map(({ gold, prediction, correct }) => ({ gold, prediction, correct }))
      t.log(`${mine.length} rows, agreement ${(100 * share).toFixed(3)} %`)
      t.true(share >= least, `agreement ${(100 * share).toFixed(3)} %: ${JSON.stringify(listed, null, 1)}`)
    })
  }

  test(`${name} has both verdicts, and saying yes or no to all would be noticed`, t => {
    const accepted = rows.filter(({ correct }) => correct).length / rows.length
    t.true(accepted > 0.1 && accepted < 0.9)
  })
}

test('a verdict takes less than a millisecond at the median, and more than 1,000 are given a second', t => {
  const rows = files.flatMap(file => file.rows)
  for (const { gold, prediction } of rows.slice(0, 3000)) verifyAnswer(gold, prediction)
  const times = rows.map(row => processorTime(() => verifyAnswer(row.gold, row.prediction)))
  // Collecting garbage falls on some items at random: the slowest are timed again.
  const again = times.map((time, i) => {
    const { gold, prediction } = rows[i] as AnswerRow
    return time < 3
      ? time
      : Math.min(time, ...[1, 2].map(() => processorTime(() => verifyAnswer(gold, prediction))))
  })
  const total = times.reduce((sum, time) => sum + time, 0)
  const sorted = again.sort((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] as number
  t.log(
    `median ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms, ${Math.round((1000 * rows.length) / total)} a second`,
  )
  t.true(at(0.5) < 1, `median ${at(0.5)} ms`)
  t.true(at(0.99) < 10, `p99 ${at(0.99)} ms`)
  t.true(at(1) < 250, `worst ${at(1)} ms`)
  // One core; two are asked for 2,000.
  t.true(rows.length / total > 1, `${(1000 * rows.length) / total} a second`)
})

test('a response as long as a model writes one is read whole, and quickly', t => {
  const thought =
    'We add $a_1 = 3$ and $\\frac{7}{2}$, so that 12 + 5 = 17, and the answer is not yet known. '
  const response = `\\boxed{41} is wrong. ${thought.repeat(340)}So \\boxed{42}.`
  t.true(response.length > 30_000)
  const time = Math.min(...[1, 2, 3].map(() => processorTime(() => verifyAnswer('42', response))))
  t.true(verifyAnswer('42', response).correct)
  t.true(time < 60, `${time} ms`)
})
