// attention-decode and the cache: one new token for each of many sequences.
import { attentionBlock } from '../../lib/ops/attention-decode.js'
import { appendCase, decodeCase } from '../../test/_cases/attention-decode.js'
import { opCase } from '../time-op.js'

const lengths = (sequences: number, length: number) => new Array<number>(sequences).fill(length)
/** The last place of each sequence's block. */
const slots = (sequences: number) => Array.from({ length: sequences }, (_, s) => (s + 1) * attentionBlock - 1)

export const attentionDecodeBench = opCase('attention-decode', [
  decodeCase({ h: 4, k: 4, d: 32, lengths: lengths(256, 64) }),
  decodeCase({ h: 6, k: 2, d: 64, lengths: lengths(16, 64) }),
  decodeCase({ h: 6, k: 2, d: 64, lengths: lengths(16, 2048) }),
  appendCase('a token each', 4, 32, 256, slots(256)),
  appendCase('a token each', 2, 64, 16, slots(16)),
])
