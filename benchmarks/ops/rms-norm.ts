// rms-norm: with the residual, as in a block, and by heads, as Qwen3 has it.
import { backwardCase, forwardCase } from '../../test/_cases/rms-norm.js'
import { opCase } from '../time-op.js'

const block = { rows: 4096, c: 384 }
const heads = { rows: 4096, c: 64, groups: 6 }

export const rmsNormBench = opCase('rms-norm', [
  forwardCase({ ...block, residual: true }),
  backwardCase({ ...block, gradSum: true }),
  forwardCase(heads),
  backwardCase(heads),
])
