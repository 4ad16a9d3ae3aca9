// Cases of attention-decode and of the key/value cache: one query per sequence against keys in scattered blocks.
import { attentionBlock, keyGroup } from '../../lib/ops/attention-decode.js'
import type { CounterRandom } from '../../lib/random.js'
import { type Bfloat16Case, bfloat16Case } from './bfloat16.js'
import { dataOf, type HostTensor, int32, normal, type OpCase } from './case.js'

export interface DecodeSizes {
  /** Query heads, key/value heads, head dimension. */
  h: number
  k: number
  d: number
  /** Keys that each row sees; 0 = idle. */
  lengths: readonly number[]
  gap?: number
}

const groups = attentionBlock / keyGroup

/** Place of dimension e of the key at `position`, and of the value, from the start of a block's head of size d. */
const keyPlace = (position: number, e: number, d: number) =>
  (Math.floor(position / keyGroup) * d + e) * keyGroup + (position % keyGroup)
const valuePlace = (position: number, e: number, d: number) => position * d + e

/** How keys stand in the cache: transposed in groups in float32, by rows in bfloat16. */
export interface Layout {
  shape(blocks: number, k: number, d: number): [blocks: number, heads: number, ...number[]]
  place: typeof keyPlace
}
const transposed: Layout = { shape: (blocks, k, d) => [blocks, k, groups * d, keyGroup], place: keyPlace }
export const byRows: Layout = { shape: (blocks, k, d) => [blocks, k, attentionBlock, d], place: valuePlace }

/** NaN wherever no key was written: an op that reads it shows it. */
function cacheOf(
  random: CounterRandom,
  shape: readonly [blocks: number, heads: number, ...number[]],
  d: number,
  place: (position: number, e: number, d: number) => number,
  written: (block: number, position: number) => boolean,
) {
  const tensor: HostTensor = normal(random, shape)
  const [blocks, heads] = shape
  for (let block = 0; block < blocks; block++) {
    for (let position = 0; position < attentionBlock; position++) {
      if (written(block, position)) continue
      for (let head = 0; head < heads; head++) {
        const at = (block * heads + head) * d * attentionBlock
        for (let e = 0; e < d; e++) tensor.data[at + place(position, e, d)] = Number.NaN
      }
    }
  }
  return tensor
}

export function decodeCase(sizes: DecodeSizes, layout = transposed): OpCase {
  const { h, k, d, lengths, gap = 0 } = sizes
  const rows = lengths.length
  const most = Math.max(1, ...lengths.map(length => Math.ceil(length / attentionBlock)))
  const used = lengths.reduce((sum, length) => sum + Math.ceil(length / attentionBlock), 0)
  const blocks = used + 2
  const scale = 1 / Math.sqrt(d)
  const keys = lengths.reduce((sum, length) => sum + length, 0)
  return {
    name: `decode ${rows} rows of ${[...new Set(lengths)].slice(0, 6)} keys, ${h}/${k} heads of ${d}${gap ? ', strided' : ''}`,
    flops: 4 * h * d * keys,
    bytes: 8 * k * d * keys,
    make(random) {
      // Blocks in random order; places of the table beyond a row's length name a block that holds NaN.
      const order = random.shuffle(Array.from({ length: blocks }, (_, i) => i))
      const table = new Int32Array(rows * most).fill(order.at(-1)!)
      const filled = new Map<number, number>()
      for (let b = 0, next = 0; b < rows; b++) {
        for (let begin = 0; begin < lengths[b]!; begin += attentionBlock) {
          const block = order[next++]!
          table[b * most + begin / attentionBlock] = block
          filled.set(block, Math.min(attentionBlock, lengths[b]! - begin))
        }
      }
      const written = (block: number, position: number) => position < (filled.get(block) ?? 0)
      return {
        q: normal(random, [rows, h * d], 1, gap),
        keyCache: cacheOf(random, layout.shape(blocks, k, d), d, layout.place, written),
        valueCache: cacheOf(random, [blocks, k, attentionBlock, d], d, valuePlace, written),
        blockTable: int32(table, [rows, most]),
        lengths: int32(lengths),
      }
    },
    outputs: { out: { shape: [rows, h * d], gap } },
    enqueue: ({ ops, handle }, tensors) =>
      ops.attentionDecode(
        handle,
        tensors.q!.handle,
        tensors.keyCache!.handle,
        tensors.valueCache!.handle,
        tensors.blockTable!.handle,
        tensors.lengths!.handle,
        scale,
        tensors.out!.handle,
      ),
    reference(inputs) {
      const [q, keyCache, valueCache, table] = [
        dataOf(inputs, 'q'),
        dataOf(inputs, 'keyCache'),
        dataOf(inputs, 'valueCache'),
        dataOf(inputs, 'blockTable'),
      ]
      const out = new Float64Array(rows * h * d)
      for (let b = 0; b < rows; b++) {
        for (let head = 0; head < h && lengths[b]! > 0; head++) {
          const group = Math.floor(head / (h / k))
          const at = (b * h + head) * d
          const place = (p: number) =>
            (table[b * most + Math.floor(p / attentionBlock)]! * k + group) * d * attentionBlock
          const scores = Float64Array.from({ length: lengths[b]! }, (_, p) => {
            let dot = 0
            for (let e = 0; e < d; e++)
              dot += q[at + e]! * keyCache[place(p) + layout.place(p % attentionBlock, e, d)]!
            return dot * scale
          })
          const largest = scores.reduce((x, y) => Math.max(x, y))
          const total = scores.reduce((sum, s) => sum + Math.exp(s - largest), 0)
          scores.forEach((s, p) => {
            for (let e = 0; e < d; e++) {
              out[at + e]! +=
                (Math.exp(s - largest) / total) * valueCache[place(p) + valuePlace(p % attentionBlock, e, d)]!
            }
          })
        }
      }
      return { out }
    },
  }
}

/** Tokens to slots; -1 writes nothing. */
export function appendCase(
  what: string,
  k: number,
  d: number,
  blocks: number,
  slots: readonly number[],
  gap = 0,
  layout = transposed,
): OpCase {
  const tokens = slots.length
  return {
    name: `append ${what}, ${tokens} tokens, ${k} heads of ${d}${gap ? ', strided' : ''}`,
    flops: 0,
    bytes: 16 * tokens * k * d,
    make: random => ({
      k: normal(random, [tokens, k * d], 1, gap),
      v: normal(random, [tokens, k * d], 1, gap),
      slots: int32(slots),
      keyCache: normal(random, layout.shape(blocks, k, d)),
      valueCache: normal(random, [blocks, k, attentionBlock, d]),
    }),
    outputs: {},
    written: ['keyCache', 'valueCache'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.kvCacheAppend(
        handle,
        tensors.k!.handle,
        tensors.v!.handle,
        tensors.slots!.handle,
        tensors.keyCache!.handle,
        tensors.valueCache!.handle,
      ),
    reference(inputs) {
      const keyCache = Float64Array.from(dataOf(inputs, 'keyCache'))
      const valueCache = Float64Array.from(dataOf(inputs, 'valueCache'))
      slots.forEach((slot, token) => {
        if (slot < 0) return
        const [block, position] = [Math.floor(slot / attentionBlock), slot % attentionBlock]
        for (let g = 0; g < k; g++) {
          for (let e = 0; e < d; e++) {
            const [from, to] = [(token * k + g) * d + e, (block * k + g) * d * attentionBlock]
            keyCache[to + layout.place(position, e, d)] = dataOf(inputs, 'k')[from]!
            valueCache[to + valuePlace(position, e, d)] = dataOf(inputs, 'v')[from]!
          }
        }
      })
      return { keyCache, valueCache }
    },
  }
}

export function copyCase(
  k: number,
  d: number,
  blocks: number,
  pairs: readonly (readonly [from: number, to: number])[],
  layout = transposed,
): OpCase {
  const size = k * d * attentionBlock
  return {
    name: `copy ${pairs.length} of ${blocks} blocks, ${k} heads of ${d}`,
    flops: 0,
    bytes: 16 * pairs.length * size,
    make: random => ({
      pairs: int32(pairs.flat(), [pairs.length, 2]),
      keyCache: normal(random, layout.shape(blocks, k, d)),
      valueCache: normal(random, [blocks, k, attentionBlock, d]),
    }),
    outputs: {},
    written: ['keyCache', 'valueCache'],
    enqueue: ({ ops, handle }, { pairs, keyCache, valueCache }) =>
      ops.kvCacheCopy(handle, pairs!.handle, keyCache!.handle, valueCache!.handle),
    reference(inputs) {
      const copied = (name: string) => {
        const data = Float64Array.from(dataOf(inputs, name))
        for (const [from, to] of pairs) data.copyWithin(to * size, from * size, (from + 1) * size)
        return data
      }
      return { keyCache: copied('keyCache'), valueCache: copied('valueCache') }
    },
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

export const cases: readonly OpCase[] = [
  decodeCase({ h: 2, k: 1, d: 8, lengths: [] }),
  decodeCase({ h: 1, k: 1, d: 8, lengths: [1] }),
  decodeCase({ h: 4, k: 2, d: 16, lengths: [0, 1, 3, 17, 63, 64, 65, 123, 0] }),
  decodeCase({ h: 6, k: 1, d: 34, lengths: [131, 257], gap: 5 }),
  decodeCase({ h: 3, k: 3, d: 256, lengths: [67] }),
  decodeCase({ h: 8, k: 2, d: 64, lengths: [1031, 5, 700] }),
  decodeCase({ h: 9, k: 1, d: 12, lengths: [70, 1, 577] }),
  decodeCase({ h: 2, k: 1, d: 100, lengths: [65, 130] }),
  decodeCase({ h: 8, k: 1, d: 130, lengths: [3, 67] }),
  decodeCase({ h: 1, k: 1, d: 8, lengths: Array.from({ length: 1009 }, (_, i) => i % 5) }),
  appendCase('nothing', 2, 8, 1, []),
  appendCase('scattered', 2, 10, 3, [5, -1, 191, 64, 63, -1, 0]),
  appendCase('a prompt', 2, 16, 4, [...range(64, 64 + 131)], 3),
  appendCase('a prompt from the middle of a block', 1, 34, 3, range(9, 9 + 123)),
  appendCase('nowhere', 1, 8, 1, [-1, -1, -1]),
  copyCase(2, 8, 3, []),
  copyCase(2, 16, 7, [
    [0, 3],
    [0, 6],
    [5, 1],
  ]),
]

const half = (oneCase: OpCase) => bfloat16Case(oneCase, ['q', 'k', 'v', 'keyCache', 'valueCache', 'out'])
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...[
    { h: 2, k: 1, d: 8, lengths: [] },
    { h: 1, k: 1, d: 8, lengths: [1] },
    { h: 4, k: 2, d: 16, lengths: [0, 1, 3, 17, 63, 64, 65, 123, 0] },
    { h: 6, k: 1, d: 34, lengths: [131, 257], gap: 5 },
    { h: 8, k: 1, d: 20, lengths: [70] },
    { h: 3, k: 1, d: 64, lengths: [257, 5, 576], gap: 8 },
    { h: 2, k: 1, d: 80, lengths: [65, 130] },
    { h: 7, k: 1, d: 128, lengths: [67, 16] },
    { h: 3, k: 3, d: 256, lengths: [67] },
    { h: 1, k: 1, d: 198, lengths: [17, 300] },
    // More query heads than a tile has rows.
    { h: 36, k: 2, d: 8, lengths: [33, 1] },
    { h: 1, k: 1, d: 8, lengths: Array.from({ length: 35 }, (_, i) => i % 5) },
  ].map(sizes => half(decodeCase(sizes, byRows))),
  half(appendCase('nothing', 2, 8, 1, [], 0, byRows)),
  half(appendCase('scattered', 2, 10, 3, [5, -1, 191, 64, 63, -1, 0], 0, byRows)),
  half(appendCase('a prompt', 2, 16, 4, range(64, 64 + 131), 8, byRows)),
  half(appendCase('a prompt from the middle of a block', 1, 34, 3, range(9, 9 + 123), 3, byRows)),
  half(copyCase(2, 8, 3, [], byRows)),
  half(
    copyCase(
      2,
      10,
      7,
      [
        [0, 3],
        [0, 6],
        [5, 1],
        [2, 2],
      ],
      byRows,
    ),
  ),
]
