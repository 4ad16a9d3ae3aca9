// Which prompts a step trains on: a fresh permutation for every epoch, a function of the seed and the step alone, so
// that a resumed run needs no stored position.
import { CounterRandom } from '../random.js'

/** Indices into `size` items for step `step` (from 1) of `batch` each. */
export function batchIndices(seed: number, size: number, batch: number, step: number): number[] {
  if (size === 0) throw new RangeError('batchIndices: expected at least one item, got none')
  const first = (step - 1) * batch
  let epoch = -1
  let order: number[] = []
  return Array.from({ length: batch }, (_, i) => {
    const position = first + i
    if (Math.floor(position / size) !== epoch) {
      epoch = Math.floor(position / size)
      order = permutation(seed, size, epoch)
    }
    return order[position % size] as number
  })
}

/** Fisher and Yates, with the numbers of (seed, epoch). */
function permutation(seed: number, size: number, epoch: number): number[] {
  const random = new CounterRandom(seed, 'batches', epoch)
  const order = Array.from({ length: size }, (_, i) => i)
  for (let i = size - 1; i > 0; i--) {
    const j = random.integer(i + 1)
    const swapped = order[i] as number
    order[i] = order[j] as number
    order[j] = swapped
  }
  return order
}
