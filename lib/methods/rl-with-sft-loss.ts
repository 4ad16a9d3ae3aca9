// RL with an SFT loss (the comparison of arXiv 2504.14945, section 4): on-policy RL, and beside it cross-entropy on the
// demonstration, which has no part in the baseline.
//
//   A_i = R_i - mean(R over the on-policy members)
//   on-policy token       -A r,        r = pi / pi_old, not clipped;  sum of token losses / constant
//   demonstration token   -sftCoef log p,  sftCoef = 1;               mean over the update's demonstration tokens
//   minus 0.01 * mean token entropy, over both
//
// sftCoef is tied to the scale of the first sum: another divisor or token mean makes the same coefficient weigh otherwise.
import type { Method } from './method.js'

export const rlWithSftLoss: Method = {
  name: 'rlWithSftLoss',
  onPolicy: true,
  demonstrations: true,
  demonstrationTokens: 'supervised',
  advantages: { baseline: 'on-policy-mean' },
  objective: {
    reduction: { kind: 'constant' },
    sftCoef: 1,
    sftReduction: { kind: 'token-mean' },
    entropyCoef: 0.01,
  },
  minimizes: '-A r on samples, sum / constant; -log p on demonstrations, token mean; less 0.01 entropy',
  source: 'arXiv 2504.14945',
}
