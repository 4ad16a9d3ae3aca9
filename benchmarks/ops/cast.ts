// cast: what reading and writing bfloat16 checkpoints costs.
import { castCase } from '../../test/_cases/cast.js'
import { opCase } from '../time-op.js'

const count = 4_000_000

export const castBench = opCase('cast', [
  castCase('float32', 'bfloat16', count),
  castCase('bfloat16', 'float32', count),
])
