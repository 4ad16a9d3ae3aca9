// Cases of attention in bfloat16: those of attention.ts with rounded arguments. A plain computation rounds scores,
// probabilities and their gradients as well.
import { type AttentionSizes, backwardCase, forwardCase, heads, layouts, packed } from './attention.js'
import { type Bfloat16Case, bfloat16Case, toBfloat16 } from './bfloat16.js'

/** Forward, of arguments in bfloat16. */
export function halfCase(what: string, sizes: AttentionSizes, options?: { lse?: boolean }): Bfloat16Case {
  return bfloat16Case(forwardCase(what, sizes, options), ['q', 'k', 'v', 'out'])
}

const layoutOf = (name: string) => layouts.find(([what]) => what === name)![1]
/** On the emulated device: every width of tiles, steps of 16 dimensions with a rest, one segment of keys and more. */
export const bfloat16Cases: readonly Bfloat16Case[] = [
  ...['nothing', 'no sequence', 'one token and two', 'odd lengths', 'two slices of a head', 'gaps'].map(
    what => halfCase(what, layoutOf(what)),
  ),
  ...['a prompt shared by three', 'a part of a prompt', 'a prefix of one block less one', 'certain'].map(
    what => halfCase(what, layoutOf(what)),
  ),
  halfCase('two segments', { h: 1, k: 1, d: 64, ...packed(257) }),
  halfCase('two segments and a part of a prompt', {
    h: 2,
    k: 1,
    d: 8,
    tokens: 321,
    sequences: [
      [0, 280, 0, 0],
      [280, 41, 1, 250],
    ],
  }),
  halfCase('eight heads of a key', { h: 8, k: 1, d: 20, ...packed(19, 66) }),
  halfCase('three heads of a key, strided', { h: 6, k: 2, d: 64, ...packed(33), gap: 8 }),
  halfCase('strided off every alignment', { h: 2, k: 2, d: 34, ...packed(67), gap: 3 }),
  halfCase('wide heads', { h: 2, k: 1, d: 128, ...packed(65, 16) }),
  halfCase('the widest heads', { h: 1, k: 1, d: 256, ...packed(65) }),
  halfCase('the widest heads but some', { h: 1, k: 1, d: 198, ...packed(17, 3), gap: 2 }),
  halfCase('two segments of wide heads', { h: 1, k: 1, d: 136, ...packed(259) }),
  halfCase('odd lengths', { ...heads, ...packed(3, 1, 0, 17, 65) }, { lse: false }),
]

const backwardNames = ['q', 'k', 'v', 'out', 'gradOut', 'gradQ', 'gradK', 'gradV']

export function bfloat16BackwardCase(what: string, sizes: AttentionSizes): Bfloat16Case {
  const rounded = { ...sizes, argumentRounding: toBfloat16 }
  const plain = backwardCase(what, { ...rounded, stepRounding: toBfloat16 })
  return bfloat16Case(backwardCase(what, rounded), backwardNames, plain)
}

/** A prompt and answers that share all of it, a part that ends within a tile, and none. */
const shared = {
  tokens: 190,
  sequences: [
    [10, 97, 0, 0],
    [107, 5, 10, 97],
    [112, 66, 20, 70],
    [0, 3, 74, 1],
    [180, 10, 0, 0],
  ],
} as const

export const backwardCases: readonly Bfloat16Case[] = [
  ...(
    [
      ['nothing', { h: 4, k: 2, d: 16, tokens: 0, sequences: [] }],
      ['no sequence', { h: 4, k: 2, d: 16, tokens: 3, sequences: [] }],
      ['one token and two', { h: 1, k: 1, d: 8, ...packed(1, 2) }],
      // Up to 64 dimensions: columns beyond the head, rows at odd addresses, several query heads, stages of 64 rows.
      ['odd lengths', { h: 2, k: 2, d: 64, ...packed(3, 0, 17, 63, 64, 65) }],
      ['three tiles', { h: 8, k: 1, d: 8, ...packed(131) }],
      ['odd halves', { h: 6, k: 2, d: 20, ...packed(70, 5), gap: 3 }],
      ['aligned gaps', { h: 1, k: 1, d: 40, ...packed(33), gap: 8 }],
      ['another scale', { h: 1, k: 1, d: 16, ...packed(33), scale: 0.9 }],
      ['certain', { h: 2, k: 1, d: 32, ...packed(97), deviation: 3 }],
      ['shared', { h: 4, k: 2, d: 16, ...shared }],
      // Up to 128: stages of 64 keys and of 32 queries.
      ['two tiles', { h: 2, k: 1, d: 128, ...packed(67) }],
      ['padded', { h: 1, k: 1, d: 80, ...packed(70, 2) }],
      ['odd rows', { h: 3, k: 1, d: 98, ...packed(35), gap: 1 }],
      ['shared', { h: 1, k: 1, d: 72, ...shared }],
      // Up to 256: stages of 16 rows, gradients of the keys in halves.
      ['the largest heads', { h: 1, k: 1, d: 256, ...packed(66) }],
      ['padded', { h: 2, k: 2, d: 136, ...packed(17) }],
      ['odd rows', { h: 2, k: 1, d: 198, ...packed(21), gap: 1 }],
      [
        'shared',
        {
          h: 1,
          k: 1,
          d: 144,
          tokens: 90,
          sequences: [
            [0, 67, 0, 0],
            [67, 19, 5, 60],
          ],
        },
      ],
    ] as const
  ).map(([what, sizes]) => bfloat16BackwardCase(what, sizes)),
]
