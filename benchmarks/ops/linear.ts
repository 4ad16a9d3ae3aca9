// linear: a layer's projections in training and, with packed weights, in decoding.
import { backwardInputCase, backwardWeightCase, forwardCase } from '../../test/_cases/linear.js'
import { opCase } from '../time-op.js'

const medium = { t: 2048, n: 2048, k: 384 }
const small = { t: 4096, n: 384, k: 128 }

export const linearBench = opCase('linear', [
  forwardCase(medium),
  backwardInputCase(medium),
  backwardWeightCase(medium),
  forwardCase(small),
  backwardInputCase(small),
  backwardWeightCase(small),
  forwardCase({ t: 16, n: 2048, k: 384, packed: true }),
  forwardCase({ t: 256, n: 384, k: 128, packed: true }),
])
