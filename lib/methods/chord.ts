// CHORD (arXiv 2508.11408): on-policy RL and supervised learning of the demonstrations, the share mu of the latter changing
// over the run, its tokens weighted so that neither certain nor hopeless ones count.
//
//   L = (1 - mu) L_GRPO + mu L_SFT
//   L_GRPO   as grpo: A_i = (R_i - mean) / (std + 1e-6) over the samples, clipped ratio, mean of the means of sequences
//   L_SFT    token mean of -phi log p, phi = p (1 - p), a constant for the derivative
//   mu       at step i (from 0): i < warm-up: peak * i / warm-up; then valley + (peak - valley) (1 + cos(pi x)) / 2,
//            x = (i - warm-up) / decay, at most 1
//
// CHORD-mu of the paper is this with objective.supervisedWeight none; a constant mu is muPeak = muValley, muWarmupSteps 0.
import { grpo } from './grpo.js'
import type { Method } from './method.js'
import { type MethodNumbers, numberOf } from './options.js'

export const chord: Method = {
  ...grpo,
  name: 'chord',
  demonstrations: true,
  demonstrationTokens: 'supervised',
  objective: { ...grpo.objective, supervisedWeight: 'uncertainty', sftReduction: { kind: 'token-mean' } },
  options: {
    muPeak: { default: 0.5, min: 0, max: 1, about: 'largest share of the supervised term' },
    muValley: { default: 0.02, min: 0, max: 1, about: 'its share after the decay' },
    muWarmupSteps: { default: 20, integer: true, min: 0, about: 'steps in which the share rises from 0' },
    muDecaySteps: { default: 40, integer: true, min: 0, about: 'steps in which it falls to the valley' },
  },
  at(step, options) {
    const share = mu(step - 1, options)
    return { objective: { policyCoef: 1 - share, sftCoef: share } }
  },
  minimizes: '(1 - mu) of grpo + mu of -p (1 - p) log p on demonstrations, token mean; mu rises and falls',
  source: 'arXiv 2508.11408',
}

function mu(i: number, options: MethodNumbers): number {
  const [peak, valley] = [numberOf(options, 'muPeak'), numberOf(options, 'muValley')]
  const [warmup, decay] = [numberOf(options, 'muWarmupSteps'), numberOf(options, 'muDecaySteps')]
  if (i < warmup) return (peak * i) / warmup
  const progress = decay === 0 ? 1 : Math.min(1, (i - warmup) / decay)
  return valley + ((peak - valley) * (1 + Math.cos(Math.PI * progress))) / 2
}
