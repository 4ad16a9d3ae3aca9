// gradient-norm: one pass over the flat gradient.
import { gradientNormCase } from '../../test/_cases/gradient-norm.js'
import { opCase } from '../time-op.js'

export const gradientNormBench = opCase('gradient-norm', [gradientNormCase(4_000_000, 1)])
