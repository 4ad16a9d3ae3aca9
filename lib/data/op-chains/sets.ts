// The fixed sets of the task: training prompts with one demonstration each, and the held-out sets. Each is a function
// of its seed alone; prompts within a set are distinct, and training and held-out prompts are disjoint by their text.
import { DataError } from '../../errors.js'
import { CounterRandom } from '../../random.js'
import { type DemonstrationStyle, MESSY, messy } from './demonstrations.js'
import { answer } from './operations.js'
import {
  type ChainShape,
  drawChain,
  drawOtherTask,
  type HeldOutPart,
  holdsSecret,
  isHeldOut,
  isInPart,
  promptOf,
  TRAINING_SHAPE,
} from './problems.js'

export interface TestItem {
  prompt: string
  answer: string
  /** Whether the prompt holds the secret letter. */
  secret: boolean
}

export interface TrainingItem extends TestItem {
  /** A right response in the style of the stronger model, up to and including the end token. */
  demonstration: string
}

export interface TrainingSetOptions {
  seed: number
  /** Number of distinct prompts (512). */
  size?: number
  /** Every prompt holds a secret letter (false: 47 % do). */
  hard?: boolean
  /** Probability that a letter is the secret one (0.12). */
  secretRate?: number
  /** Style of the demonstrations (MESSY). */
  style?: DemonstrationStyle
}

/** Training prompts with one demonstration each. */
export function trainingSet(options: TrainingSetOptions): TrainingItem[] {
  const { seed, size = 512, hard = false, secretRate = TRAINING_SHAPE.secretRate, style = MESSY } = options
  const shape = { ...TRAINING_SHAPE, secretRate, forceSecret: hard }
  const items: TrainingItem[] = []
  const seen = new Set<string>()
  for (let draw = 0; items.length < size; draw++) {
    const chain = drawChain(new CounterRandom(seed, 'op-chains/training', draw), shape)
    const prompt = promptOf(chain)
    if (isHeldOut(prompt) || seen.has(prompt)) continue
    seen.add(prompt)
    items.push({
      prompt,
      answer: answer(prompt),
      secret: holdsSecret(chain.letters),
      demonstration: messy(
        chain.state,
        chain.letters,
        new CounterRandom(seed, 'op-chains/demonstrations', draw),
        style,
      ),
    })
  }
  return items
}

/**
 * The held-out sets. `id`: as in training; `hard`: the same, each prompt with a secret letter. Out of distribution,
 * none with a secret letter: `narr` 3 digits, `wide` 5 digits, `oth` the other pretraining tasks, `q` the training
 * shape but ending in `?`.
 */
export const TEST_SETS = ['id', 'hard', 'narr', 'wide', 'oth', 'q'] as const
export type TestSetName = (typeof TEST_SETS)[number]

/** More held-out sets, shaped as the training prompts but for their number of letters: 1 or 2, 3, 7 or 8. */
export const LENGTH_SETS = ['easy', 'mid', 'long'] as const
export const ALL_TEST_SETS = [...TEST_SETS, ...LENGTH_SETS] as const
export type AnyTestSetName = (typeof ALL_TEST_SETS)[number]

/** The sets whose mean accuracy is called out of distribution. */
export const OUT_OF_DISTRIBUTION_SETS = ['narr', 'wide', 'oth', 'q'] as const satisfies readonly TestSetName[]

const TEST_SHAPES: Record<Exclude<AnyTestSetName, 'oth'>, ChainShape> = {
  id: TRAINING_SHAPE,
  hard: { ...TRAINING_SHAPE, forceSecret: true },
  narr: { ...TRAINING_SHAPE, digits: [3, 3], secretRate: 0 },
  wide: { ...TRAINING_SHAPE, digits: [5, 5], secretRate: 0 },
  q: { ...TRAINING_SHAPE, ending: '?', secretRate: 0 },
  easy: { ...TRAINING_SHAPE, letters: [1, 2] },
  mid: { ...TRAINING_SHAPE, letters: [3, 3] },
  long: { ...TRAINING_SHAPE, letters: [7, 8] },
}

/** Draws without a new prompt after which a set is called exhausted. */
const MAX_FRUITLESS_DRAWS = 2000

export interface TestSetOptions {
  seed: number
  /** Number of distinct prompts (200). */
  size?: number
  /** Which of the held-out prompts (all). */
  part?: HeldOutPart
}

/** A held-out set of `size` distinct prompts. Throws DataError when the task has fewer. */
export function testSet(name: AnyTestSetName, options: TestSetOptions): TestItem[] {
  const { seed, size = 200, part = 'all' } = options
  const items: TestItem[] = []
  const seen = new Set<string>()
  let fruitless = 0
  for (let draw = 0; items.length < size; draw++) {
    const random = new CounterRandom(seed, `op-chains/test/${name}`, draw)
    const chain = name === 'oth' ? undefined : drawChain(random, TEST_SHAPES[name])
    const prompt = chain === undefined ? drawOtherTask(random) : promptOf(chain)
    if (!isInPart(prompt, part) || seen.has(prompt)) {
      fruitless++
      if (fruitless > MAX_FRUITLESS_DRAWS) {
        throw new DataError(
          `test set ${name}: found ${items.length} distinct held-out prompts, expected ${size}`,
        )
      }
      continue
    }
    fruitless = 0
    seen.add(prompt)
    items.push({ prompt, answer: answer(prompt), secret: chain !== undefined && holdsSecret(chain.letters) })
  }
  return items
}
