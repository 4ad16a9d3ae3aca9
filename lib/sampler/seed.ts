// The key of the sampler's random numbers.
import { philox, seedWords, streamWord } from '../random.js'

const stream = streamWord('sampler')

/** A 53-bit key from a seed and a step: every (seed, step) draws other numbers. */
export function samplingSeed(seed: number, step: number): number {
  const [low, high] = seedWords(seed)
  const words = philox(low, high, step, 0, 0, stream)
  return (words[0] as number) + ((words[1] as number) >>> 11) * 0x100000000
}
