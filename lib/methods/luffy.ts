// LUFFY (arXiv 2504.14945): every group holds on-policy rollouts and an off-policy demonstration.
//
//   A_i = R_i - mean(R over the whole group)                                                   (equation 4, no division)
//   on-policy token       -A r,        r = pi / pi_old, not clipped
//   demonstration token   -A f(p),     f(p) = p / (p + gamma), gamma = 0.1                     (section 3.3)
//   minus 0.01 * mean token entropy; sum of token losses / (longest response * sequences)
//
// Departures from the authors' code, each an option: they divide by the longest response alone (reduction.divisor), use an
// entropy coefficient of 0.001 (entropyCoef), and step also when a batch holds no advantage (updateWithoutSignal).
import type { Method } from './method.js'

export const luffy: Method = {
  name: 'luffy',
  onPolicy: true,
  demonstrations: true,
  demonstrationTokens: 'off-policy',
  advantages: { baseline: 'mean' },
  objective: {
    shaping: { kind: 'regularized', gamma: 0.1 },
    reduction: { kind: 'constant' },
    entropyCoef: 0.01,
  },
  minimizes: '-A r on samples, -A p/(p + 0.1) on demonstrations, less 0.01 entropy; sum / constant',
  source: 'arXiv 2504.14945',
}
