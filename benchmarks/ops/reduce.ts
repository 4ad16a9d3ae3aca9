// reduce and add.
import { addCase, reduceCase } from '../../test/_cases/reduce.js'
import { opCase } from '../time-op.js'

export const reduceBench = opCase('reduce', [
  reduceCase(0, 4_000_000),
  reduceCase(1, 4_000_000),
  addCase(4096, 384),
])
