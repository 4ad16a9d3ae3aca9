// attention: many short sequences, as in the benchmark's policies, and a long one.
import { int32, normal } from '../../test/_cases/case.js'
import { opCase, type TimedOp } from '../time-op.js'

interface AttentionSizes {
  sequences: number
  length: number
  heads: number
  kvHeads: number
  d: number
}

export function attention(sizes: AttentionSizes, backward: boolean): TimedOp {
  const { sequences, length, heads, kvHeads, d } = sizes
  const t = sequences * length
  // Scores and their product with the values over the causal half; backward does five such products for two.
  const pairs = (sequences * length * (length + 1)) / 2
  const moved = 4 * t * d * (2 * heads + 2 * kvHeads)
  const rows = int32(Array.from({ length: sequences }, (_, s) => [s * length, length, 0, 0]).flat(), [
    sequences,
    4,
  ])
  return {
    name: `${backward ? 'backward' : 'forward'} ${sequences}x${length}, ${heads}/${kvHeads} heads of ${d}`,
    flops: (backward ? 10 : 4) * pairs * heads * d,
    bytes: backward ? 2 * moved : moved,
    make: random => ({
      q: normal(random, [t, heads * d]),
      k: normal(random, [t, kvHeads * d]),
      v: normal(random, [t, kvHeads * d]),
      gradOut: normal(random, [t, heads * d]),
      sequences: rows,
    }),
    outputs: {
      out: { shape: [t, heads * d] },
      lse: { shape: [t, heads] },
      gradQ: { shape: [t, heads * d] },
      gradK: { shape: [t, kvHeads * d] },
      gradV: { shape: [t, kvHeads * d] },
    },
    // The backward pass reads what the forward pass wrote.
    prepare: ({ ops, handle }, { q, k, v, sequences, out, lse }) =>
      ops.attentionForward(
        handle,
        q!.handle,
        k!.handle,
        v!.handle,
        sequences!.handle,
        1 / Math.sqrt(d),
        out!.handle,
        lse!.handle,
      ),
    enqueue: ({ ops, handle }, { q, k, v, sequences, out, lse, gradOut, gradQ, gradK, gradV }) =>
      backward
        ? ops.attentionBackward(
            handle,
            gradOut!.handle,
            q!.handle,
            k!.handle,
            v!.handle,
            out!.handle,
            lse!.handle,
            sequences!.handle,
            1 / Math.sqrt(d),
            gradQ!.handle,
            gradK!.handle,
            gradV!.handle,
          )
        : ops.attentionForward(
            handle,
            q!.handle,
            k!.handle,
            v!.handle,
            sequences!.handle,
            1 / Math.sqrt(d),
            out!.handle,
            lse!.handle,
          ),
  }
}

const sizes: readonly AttentionSizes[] = [
  { sequences: 16, length: 256, heads: 6, kvHeads: 2, d: 64 },
  { sequences: 64, length: 64, heads: 4, kvHeads: 4, d: 32 },
  { sequences: 1, length: 2048, heads: 6, kvHeads: 2, d: 64 },
]

export const attentionBench = opCase(
  'attention',
  sizes.flatMap(size => [attention(size, false), attention(size, true)]),
)
