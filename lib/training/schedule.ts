// The learning rate of each optimizer step.
import { checkChoice, checkInteger, checkNumber } from '../options.js'

export const SCHEDULE_KINDS = ['constant', 'linear', 'cosine'] as const

export interface LearningRateSchedule {
  /** constant; linear: falls in a line; cosine: falls along half a cosine. */
  kind: (typeof SCHEDULE_KINDS)[number]
  /** The rate after the warm-up. */
  peak: number
  /** Optimizer steps of warm-up (0). Step i of them has (i + 1) / warmupSteps of the peak, so that none is wasted. */
  warmupSteps?: number
  /** Optimizer steps in all; needed where the rate falls. Steps after them keep the floor. */
  totalSteps?: number
  /** The rate falls to this share of the peak (0). */
  floor?: number
}

/**
 * Learning rate of optimizer step `step`, the first being 0:
 * with w warm-up steps, T steps in all, x = (step - w) / (T - w): constant 1, linear 1 - x, cosine (1 + cos(pi x)) / 2,
 * between the floor and the peak. As in Hugging Face's schedules but for the warm-up, which there starts at a rate of 0.
 */
export function learningRateAt(schedule: LearningRateSchedule, step: number): number {
  const kind = checkChoice(schedule.kind, 'schedule.kind', SCHEDULE_KINDS)
  const peak = checkNumber(schedule.peak, 'schedule.peak', { min: 0 })
  const warmupSteps = checkInteger(schedule.warmupSteps ?? 0, 'schedule.warmupSteps')
  const floor = checkNumber(schedule.floor ?? 0, 'schedule.floor', { min: 0, max: 1 })
  checkInteger(step, 'step')
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps
  if (kind === 'constant') return peak
  const totalSteps = checkInteger(schedule.totalSteps, 'schedule.totalSteps', { min: 1 })
  const progress =
    totalSteps <= warmupSteps ? 1 : Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps))
  const share = kind === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2
  return peak * (floor + (1 - floor) * share)
}
