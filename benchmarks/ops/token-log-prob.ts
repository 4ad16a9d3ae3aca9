// token-log-prob: one pass over the logits, and a pass that writes the gradient.
import { backwardCase, forwardCase } from '../../test/_cases/token-log-prob.js'
import { opCase } from '../time-op.js'

const sizes = { rows: 512, v: 32_000 }

export const tokenLogProbBench = opCase('token-log-prob', [forwardCase(sizes), backwardCase(sizes)])
