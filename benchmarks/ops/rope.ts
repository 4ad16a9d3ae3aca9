// rope: queries and keys of a micro-batch.
import { ropeCase } from '../../test/_cases/rope.js'
import { opCase } from '../time-op.js'

export const ropeBench = opCase('rope', [
  ropeCase({ rows: 4096, heads: 8, d: 64, positions: 256 }),
  ropeCase({ rows: 4096, heads: 8, d: 32, positions: 256 }),
])
