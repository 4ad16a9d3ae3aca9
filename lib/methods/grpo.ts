// On-policy RL with a group baseline: GRPO (arXiv 2402.03300) and Dr.GRPO (arXiv 2503.20783).
//
//   GRPO      A_i = (R_i - mean) / (std + 1e-6);  mean over sequences of the mean over tokens of max(-A r, -A clip(r))
//   Dr.GRPO   A_i = R_i - mean;                   sum over tokens / constant
import type { Method } from './method.js'

const clip = { low: 0.2, high: 0.2 }

export const grpo: Method = {
  name: 'grpo',
  onPolicy: true,
  demonstrations: false,
  demonstrationTokens: 'off-policy',
  advantages: { baseline: 'mean-std' },
  objective: { clip, shaping: { kind: 'none' }, reduction: { kind: 'sequence-mean' } },
  minimizes: 'max(-A r, -A clip(r, 0.8, 1.2)); mean of the means of sequences',
  source: 'arXiv 2402.03300',
}

export const drGrpo: Method = {
  ...grpo,
  name: 'drGrpo',
  advantages: { baseline: 'mean' },
  objective: { clip, shaping: { kind: 'none' }, reduction: { kind: 'constant' } },
  minimizes: 'max(-A r, -A clip(r, 0.8, 1.2)); sum / constant',
  source: 'arXiv 2503.20783',
}
