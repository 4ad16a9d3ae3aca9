// A training run on the screen: one progress line per phase, evaluations as they come, two samples at the end.
import type { TrainEvent } from '../training/train.js'
import type { Phase, Progress } from './progress.js'
import { printable } from './text.js'

const percent = (share: number | undefined) => (share === undefined ? '-' : `${Math.round(100 * share)}%`)
const fixed = (value: number | undefined, digits: number) =>
  value === undefined ? '-' : value.toFixed(digits)

/** Short, so that it is seen on 80 columns. */
const rate = (perSecond: number) =>
  perSecond >= 10_000 ? `${Math.round(perSecond / 1000)}k` : Math.round(perSecond)

/** Turns the events of `train` into progress lines. */
export function trainingProgress(progress: Progress, name = 'train'): (event: TrainEvent) => void {
  let phase: Phase | undefined
  return event => {
    switch (event.type) {
      case 'start':
        for (const notice of event.notices) progress.log(printable(notice))
        if (event.step > event.maxSteps) break
        if (event.step > 0) progress.log(printable(`${event.runFolder}: going on after step ${event.step}`))
        phase = progress.phase(name, { total: event.maxSteps, unit: 'step', start: event.step })
        break
      case 'step': {
        const m = event.metrics
        phase?.update(event.step, {
          reward: fixed(m.reward, 2),
          ...(m.tokensPerSecond ? { 'tok/s': rate(m.tokensPerSecond) } : {}),
          'all/some/none right': `${percent(m.groupsSolvedAll)}/${percent(m.groupsSolvedSome)}/${percent(m.groupsSolvedNone)}`,
          ...(m.entropy === undefined ? {} : { entropy: fixed(m.entropy, 3) }),
          ...(m.offPolicyProbability === undefined ? {} : { 'demo p': fixed(m.offPolicyProbability, 2) }),
        })
        break
      }
      case 'notice':
        progress.log(printable(`step ${event.step}: ${event.text}`))
        break
      case 'evaluation': {
        const sets = Object.entries(event.accuracy).map(([set, mean]) => `${set} ${percent(mean)}`)
        progress.log(`step ${event.step}: accuracy ${sets.join('  ')}`)
        break
      }
      case 'end':
        phase?.end()
        break
      default:
    }
  }
}
