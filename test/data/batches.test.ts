// Which prompts a step trains on.
import test from 'ava'
import { batchIndices } from '../../lib/data/batches.js'

test('every epoch holds every item once, in an order of its own', t => {
  const steps = Array.from({ length: 21 }, (_, i) => batchIndices(5, 10, 3, i + 1)).flat()
  const epochs = Array.from({ length: 6 }, (_, e) => steps.slice(10 * e, 10 * e + 10))
  for (const epoch of epochs)
    t.deepEqual(
      [...epoch].sort((a, b) => a - b),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    )
  t.is(new Set(epochs.map(epoch => epoch.join())).size, 6)
})

test('a step depends on the seed and its number alone', t => {
  t.deepEqual(batchIndices(5, 10, 3, 7), batchIndices(5, 10, 3, 7))
  t.notDeepEqual(batchIndices(5, 1000, 8, 7), batchIndices(6, 1000, 8, 7))
  t.notDeepEqual(batchIndices(5, 1000, 8, 7), batchIndices(5, 1000, 8, 8))
})

test('a batch may hold more than an epoch', t => {
  const counts = new Map<number, number>()
  for (const i of batchIndices(1, 3, 9, 1)) counts.set(i, (counts.get(i) ?? 0) + 1)
  t.deepEqual([...counts.values()], [3, 3, 3])
  t.deepEqual(batchIndices(1, 1, 2, 1), [0, 0])
  t.throws(() => batchIndices(1, 0, 2, 1), { instanceOf: RangeError })
})
