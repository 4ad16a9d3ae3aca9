// policy-loss: the tokens of a large update.
import { policyLossCase } from '../../test/_cases/policy-loss.js'
import { opCase } from '../time-op.js'

export const policyLossBench = opCase('policy-loss', [
  policyLossCase({ rows: 65_536, objective: { shaping: 1, logRatioClamp: 20 }, name: 'regularized' }),
])
