// linear-policy-loss: the output product, the loss and both of its gradients, for a small and a large vocabulary.
import { linearLogProbCase, linearLossCase } from '../../test/_cases/linear-policy-loss.js'
import { opCase } from '../time-op.js'

const objective = { shaping: 1, logRatioClamp: 20 }
const name = 'regularized'

export const linearPolicyLossBench = opCase('linear-policy-loss', [
  linearLossCase({ rows: 2048, c: 384, v: 8192, objective, name }),
  linearLossCase({ rows: 256, c: 384, v: 151_936, objective, name }),
  linearLogProbCase({ rows: 2048, c: 384, v: 8192 }),
])
