// Packing: where tokens, positions, sequences and the rows that predict stand, with and without a shared prompt.
import test from 'ava'
import { checkSequence, checkTokens, packedLength, packGroups } from '../../lib/policy/packing.js'

const sequence = (promptLength: number, ...tokens: number[]) => ({
  tokens: Int32Array.from(tokens),
  promptLength,
})
const plain = (arrays: ReturnType<typeof packGroups>) =>
  Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, [...values]]))

test('sequences stand end to end; the last token predicts nothing and is left out', t => {
  const members = [sequence(2, 1, 2, 3, 4), sequence(1, 5, 6), sequence(3, 7, 8, 9)]
  t.deepEqual(plain(packGroups([{ members, shared: false }])), {
    tokens: [1, 2, 3, 5, 7, 8, 9],
    positions: [0, 1, 2, 0, 0, 1, 2],
    sequences: [0, 3, 0, 0, 3, 1, 0, 0, 4, 3, 0, 0],
    rows: [1, 2, 3],
    targets: [3, 4, 6],
  })
})

test('a shared prompt stands once, and the first token of each response is predicted by its last row', t => {
  const members = [
    sequence(2, 1, 2, 3, 4, 5),
    sequence(2, 1, 2, 6),
    sequence(2, 1, 2),
    sequence(2, 1, 2, 7, 8),
  ]
  const group = { members, shared: true }
  t.deepEqual(plain(packGroups([group])), {
    tokens: [1, 2, 3, 4, 7],
    positions: [0, 1, 2, 3, 2],
    sequences: [0, 2, 0, 0, 2, 2, 0, 2, 4, 1, 0, 2],
    rows: [1, 2, 3, 1, 1, 4],
    targets: [3, 4, 5, 6, 7, 8],
  })
  t.is(packedLength(group), 5)
  // Behind another group all rows are shifted.
  const both = packGroups([{ members: [sequence(1, 9, 9)], shared: false }, group])
  t.deepEqual([...both.rows], [0, 2, 3, 4, 2, 2, 5])
  t.deepEqual([...both.sequences.slice(4)], [1, 2, 0, 0, 3, 2, 1, 2, 5, 1, 1, 2])
})

test('nothing at all, and a group of one', t => {
  t.deepEqual(plain(packGroups([])), { tokens: [], positions: [], sequences: [], rows: [], targets: [] })
  t.is(packGroups([{ members: [], shared: true }]).tokens.length, 0)
  const members = [sequence(2, 1, 2, 3)]
  t.deepEqual(packGroups([{ members, shared: true }]), packGroups([{ members, shared: false }]))
  t.is(packedLength({ members, shared: true }), packedLength({ members, shared: false }))
})

test('tokens and prompt lengths are checked', t => {
  const limits = { vocabSize: 10, maxPositions: 4 }
  t.notThrows(() => checkSequence(sequence(4, 1, 2, 3, 9), 's', limits))
  t.throws(() => checkTokens([1], 's', 10), { instanceOf: TypeError, message: /s: expected an Int32Array/ })
  t.throws(() => checkTokens(Int32Array.of(1, 10), 's', 10), {
    instanceOf: RangeError,
    message: /s\[1\].*9.*10/,
  })
  t.throws(() => checkSequence(sequence(1, 1, 2, 3, 4, 5), 's', limits), {
    instanceOf: RangeError,
    message: /5.*4/,
  })
  for (const promptLength of [0, -1, 3, 1.5, Number.NaN, undefined, '1', 2 ** 32 + 1]) {
    t.throws(() => checkSequence({ tokens: Int32Array.of(1, 2), promptLength }, 's', limits), {
      instanceOf: RangeError,
      message: /s\.promptLength/,
    })
  }
})
