// Mixed-policy GRPO without shaping (arXiv 2504.14945, section 3.2): LUFFY's group and baseline, the ratio as it is.
//
//   A_i = R_i - mean(R over the whole group)
//   on-policy token       -A r,        r = pi / pi_old, not clipped
//   demonstration token   -A p                               (the demonstrator's probability taken as 1)
//   minus 0.01 * mean token entropy; sum of token losses / constant
import { luffy } from './luffy.js'
import type { Method } from './method.js'

export const mixedPolicy: Method = {
  ...luffy,
  name: 'mixedPolicy',
  objective: { ...luffy.objective, shaping: { kind: 'none' } },
  minimizes: '-A r on samples, -A p on demonstrations, less 0.01 entropy; sum / constant',
  source: 'arXiv 2504.14945',
}
