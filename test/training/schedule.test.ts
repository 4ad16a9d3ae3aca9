import test from 'ava'
import { type LearningRateSchedule, learningRateAt } from '../../lib/training/schedule.js'

function rates(schedule: LearningRateSchedule, steps: number): number[] {
  return Array.from({ length: steps }, (_, step) => learningRateAt(schedule, step))
}

test('constant after a warm-up that wastes no step', t => {
  t.deepEqual(rates({ kind: 'constant', peak: 8, warmupSteps: 4 }, 7), [2, 4, 6, 8, 8, 8, 8])
  t.deepEqual(rates({ kind: 'constant', peak: 3 }, 2), [3, 3])
})

test('linear falls in a line to 0, or to its floor, and stays there', t => {
  t.deepEqual(rates({ kind: 'linear', peak: 8, warmupSteps: 2, totalSteps: 6 }, 8), [4, 8, 8, 6, 4, 2, 0, 0])
  t.deepEqual(rates({ kind: 'linear', peak: 8, totalSteps: 4, floor: 0.5 }, 6), [8, 7, 6, 5, 4, 4])
})

test('cosine: the peak, the half at the middle, then the floor', t => {
  const schedule = { kind: 'cosine', peak: 2e-3, warmupSteps: 100, totalSteps: 2100 } as const
  t.is(learningRateAt(schedule, 0), 2e-5)
  t.is(learningRateAt(schedule, 99), 2e-3)
  t.is(learningRateAt(schedule, 100), 2e-3)
  // cos 60 degrees = 1/2, cos 90 = 0, cos 120 = -1/2.
  for (const [step, share] of [
    [100 + 2000 / 3, 3 / 4],
    [1100, 1 / 2],
    [100 + 4000 / 3, 1 / 4],
    [2100, 0],
    [9999, 0],
  ] as const) {
    const whole = Math.round(step)
    t.true(Math.abs(learningRateAt(schedule, whole) - 2e-3 * share) < 2e-6, `step ${whole}`)
  }
  t.is(learningRateAt({ ...schedule, floor: 0.1 }, 2100), 2e-4)
})

test('a warm-up as long as the run', t => {
  t.deepEqual(rates({ kind: 'cosine', peak: 4, warmupSteps: 4, totalSteps: 4 }, 5), [1, 2, 3, 4, 0])
})

test('wrong settings are named', t => {
  const wrong: [unknown, number, RegExp][] = [
    [{ kind: 'cosin', peak: 1 }, 0, /schedule\.kind: .*did you mean "cosine"/],
    [{ kind: 'constant', peak: Number.NaN }, 0, /schedule\.peak/],
    [{ kind: 'constant', peak: -1 }, 0, /schedule\.peak/],
    [{ kind: 'constant', peak: 1, warmupSteps: 1.5 }, 0, /schedule\.warmupSteps/],
    [{ kind: 'linear', peak: 1 }, 0, /schedule\.totalSteps/],
    [{ kind: 'linear', peak: 1, totalSteps: 5, floor: 2 }, 0, /schedule\.floor/],
    [{ kind: 'constant', peak: 1 }, -1, /step/],
  ]
  for (const [schedule, step, message] of wrong) {
    t.throws(() => learningRateAt(schedule as LearningRateSchedule, step), { message })
  }
})
