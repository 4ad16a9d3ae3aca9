// Kernel traffic of attention, of its backward pass, of decoding and of the key/value cache.
import { attentionBlock } from '../../lib/ops/attention-decode.js'
import { backwardCase, forwardCase, packed } from '../_cases/attention.js'
import { appendCase, copyCase, decodeCase } from '../_cases/attention-decode.js'
import { bfloat16Case } from '../_cases/bfloat16.js'
import type { OpCase } from '../_cases/case.js'
import type { Bound, TrafficCase } from './_traffic.js'
import { inBoth, type Width } from './_traffic-rows.js'

const heads = { h: 4, k: 2 }
const attentionNames = ['q', 'k', 'v', 'out', 'gradOut', 'gradQ', 'gradK', 'gradV']
/** What a warp reads of the tables of sequences and tiles. */
const plan = 48
const statistics = 'lse and delta stand by token, then head: a head has 4 bytes of every sector'

/** Pairs of tiles of 64 queries and 64 keys that one sequence has; pairs of a query and a key. */
const tilePairs = (t: number) => ((t / 64) * (t / 64 + 1)) / 2
const pairs = (t: number) => (t * (t + 1)) / 2

function forward(t: number, d: number): TrafficCase[] {
  const { h, k } = heads
  return inBoth('attention', forwardCase('packed', { ...heads, d, ...packed(t) }), attentionNames, bytes => ({
    [bytes === 4 ? 'attention_forward_kernel' : 'attention_forward_bf16_kernel']: {
      reads: bytes * t * d * (h + 2 * k),
      writes: bytes * t * d * h + 4 * t * h,
      flops: 4 * h * d * pairs(t),
      scalars: plan,
      again: {
        reads: 2 * bytes * d * (64 * h * tilePairs(t) - t * k),
        why: 'keys and values up to the diagonal for every 64 queries of a head, from the cache',
      },
      ...(bytes === 2 ? { sectors: { stores: 0.9, why: statistics } } : {}),
    },
  }))
}

function backward(t: number, d: number): TrafficCase[] {
  const { h, k } = heads
  const matrices = (bytes: Width) => bytes * t * d * (2 * h + 2 * k)
  const numbers = 8 * t * h
  /** Both kernels make the scores of every pair of tiles again, which are 4 of the 10 products' flops. */
  const bound = (bytes: Width, products: number, reads: number, writes: number, more: number): Bound => ({
    reads: matrices(bytes) + numbers,
    writes,
    flops: 2 * products * h * d * pairs(t),
    scalars: plan,
    again: {
      reads: reads - matrices(bytes) - numbers,
      writes: more,
      why: 'the other side of every pair of tiles, from the cache',
    },
    sectors: { loads: 0.92, why: statistics },
  })
  return inBoth(
    'attention',
    backwardCase('packed', { ...heads, d, ...packed(t) }),
    attentionNames,
    (bytes): Record<string, Bound> => {
      const delta: Bound = {
        reads: 2 * bytes * t * h * d,
        writes: 4 * t * h,
        flops: 2 * t * h * d,
        scalars: plan,
      }
      const units = h * tilePairs(t)
      const tile = 64 * d * bytes
      const [q, keys] = [bytes * t * d * h, 2 * bytes * t * d * k]
      if (bytes === 4) {
        // Slices of 64 dimensions pass through shared memory: q and k, gradOut and v, and those that the gradients need.
        return {
          attention_delta_kernel: delta,
          attention_backward_queries_kernel: bound(4, 3, units * (5 * tile + 1024), q, 0),
          attention_backward_keys_kernel: bound(4, 4, units * (6 * tile + 1024), keys, 2 * q - keys),
          attention_add_heads_kernel: { reads: 2 * q, writes: keys, flops: 2 * t * h * d, scalars: plan },
        }
      }
      return {
        attention_delta_bf16_kernel: delta,
        attention_backward_bf16_queries_kernel: bound(2, 3, 2 * q + numbers + 2 * units * tile, q, 0),
        attention_backward_bf16_keys_kernel: bound(2, 4, keys + units * (2 * tile + 512), keys, 0),
      }
    },
  )
}

// ---- decoding

const byRows = {
  shape: (blocks: number, k: number, d: number): [number, number, ...number[]] => [
    blocks,
    k,
    attentionBlock,
    d,
  ],
  place: (position: number, e: number, d: number) => position * d + e,
}
const cacheNames = ['q', 'k', 'v', 'keyCache', 'valueCache', 'out']
const half = (op: OpCase) => bfloat16Case(op, cacheNames)
const lengths = [576, 256, 128, 64]
const keys = lengths.reduce((sum, length) => sum + length, 0)
/** Length of a row, and the blocks of its keys. */
const tables = 4 * lengths.length + (4 * keys) / attentionBlock

function decode(h: number, k: number, d: number): TrafficCase[] {
  const rows = lengths.length
  const reads = (bytes: Width) => bytes * (2 * k * d * keys + rows * h * d) + tables
  const flops = 4 * h * d * keys
  const again = { reads: 8 * tables * k, why: 'the table of blocks for every head and warp' }
  const segments = lengths.reduce((sum, length) => sum + Math.ceil(length / 256), 0)
  const sums = segments * h * (4 * d + 8)
  return [
    {
      stem: 'attention-decode',
      op: decodeCase({ h, k, d, lengths }),
      kernels: {
        attention_decode_kernel: { reads: reads(4), writes: 4 * rows * h * d, flops, scalars: 8, again },
      },
    },
    {
      stem: 'attention-decode',
      op: half(decodeCase({ h, k, d, lengths }, byRows)),
      kernels: {
        attention_decode_bf16_kernel: {
          reads: reads(2),
          writes: sums,
          flops,
          scalars: 8,
          again: {
            reads: again.reads + 2 * (segments - rows) * h * d,
            why: `${again.why}; the queries for every 256 keys`,
          },
          sectors: { stores: 0.9, why: 'a head has 8 bytes of the state of every segment' },
        },
        attention_decode_merge_bf16_kernel: {
          reads: sums + 4 * rows,
          writes: 2 * rows * h * d,
          flops: 4 * segments * h * d,
          scalars: 32,
        },
      },
    },
  ]
}

function append(k: number, d: number): TrafficCase[] {
  const slots = Array.from({ length: 128 }, (_, i) => i)
  const bound = (bytes: Width): Bound => ({
    reads: slots.length * (2 * bytes * k * d + 4),
    writes: slots.length * 2 * bytes * k * d,
    flops: 0,
    scalars: 4,
  })
  const op = (layout?: typeof byRows) => appendCase('a prompt', k, d, 4, slots, 0, layout)
  return [
    {
      stem: 'attention-decode',
      op: op(),
      kernels: {
        kv_cache_append_kernel: {
          ...bound(4),
          sectors: {
            stores: 0.2,
            why: 'keys stand transposed, as decoding reads them: 4 bytes of every sector',
          },
        },
      },
    },
    { stem: 'attention-decode', op: half(op(byRows)), kernels: { kv_cache_append_bf16_kernel: bound(2) } },
  ]
}

function copy(k: number, d: number): TrafficCase[] {
  const from = [
    [0, 1],
    [2, 3],
  ] as const
  const elements = 2 * k * d * attentionBlock * from.length
  const bound = (bytes: Width): Bound => ({
    reads: bytes * elements + 8 * from.length,
    writes: bytes * elements,
    flops: 0,
    scalars: 8,
  })
  return [
    {
      stem: 'attention-decode',
      op: copyCase(k, d, 6, from),
      kernels: { kv_cache_copy_kernel: bound(4) },
    },
    {
      stem: 'attention-decode',
      op: half(copyCase(k, d, 6, from, byRows)),
      kernels: { kv_cache_copy_bf16_kernel: bound(2) },
    },
  ]
}

export const attentionCases: readonly TrafficCase[] = [
  ...forward(256, 64),
  ...forward(256, 128),
  ...backward(256, 64),
  ...backward(256, 128),
  ...decode(8, 2, 64),
  ...decode(8, 2, 128),
  ...append(2, 64),
  ...copy(2, 64),
]
