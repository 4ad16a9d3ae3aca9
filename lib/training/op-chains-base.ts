// The base policy of the op chains task: a Qwen2 of 0.34 M parameters with a latent skill and a wrong belief
// (lib/data/op-chains/pretraining.ts says what it is taught).
import { opChainsTokenizer, PRETRAINING_RECIPE, pretrainingSample } from '../data/op-chains/index.js'
import { checkInteger, checkNumber, checkOptions } from '../options.js'
import type { BaseRecipe } from './base-recipe.js'

export interface OpChainsBaseOptions {
  /** Of the texts and the initial weights. Default 0. */
  seed?: number
  /** Steps of 96 texts. Default 2000. */
  steps?: number
  /** Width; a head has 32. Default 96. */
  hiddenSize?: number
  /** Peak. Default 2e-3. */
  learningRate?: number
  /** Probability that the secret operation has its wrong constant. Default 0.95. */
  misbelief?: number
  /** Probability that a letter is the secret one. Default 0.05. */
  secretRate?: number
}

const optionNames = ['seed', 'steps', 'hiddenSize', 'learningRate', 'misbelief', 'secretRate'] as const

export function opChainsBase(options: OpChainsBaseOptions = {}): BaseRecipe {
  const given = checkOptions(options, 'base', optionNames)
  const seed = checkInteger(given.seed ?? 0, 'base.seed')
  const steps = checkInteger(given.steps ?? 2000, 'base.steps', { min: 1 })
  const hiddenSize = checkInteger(given.hiddenSize ?? 96, 'base.hiddenSize', { min: 32, max: 1024 })
  if (hiddenSize % 32 !== 0)
    throw new RangeError(`base.hiddenSize: expected a multiple of 32, got ${hiddenSize}`)
  const share = (value: unknown, name: string) => checkNumber(value, name, { min: 0, max: 1 })
  const recipe = {
    ...PRETRAINING_RECIPE,
    misbelief: share(given.misbelief ?? PRETRAINING_RECIPE.misbelief, 'base.misbelief'),
    secretRate: share(given.secretRate ?? PRETRAINING_RECIPE.secretRate, 'base.secretRate'),
  }
  return {
    seed,
    tokenizer: opChainsTokenizer(),
    policy: {
      architecture: 'qwen2',
      hiddenSize,
      layers: 3,
      heads: hiddenSize / 32,
      kvHeads: hiddenSize / 32,
      intermediateSize: Math.round((hiddenSize * 8) / 3),
      tieWordEmbeddings: false,
      maxPositions: 256,
    },
    sample: index => pretrainingSample(seed, index, recipe),
    steps,
    batch: 96,
    learningRate: checkNumber(given.learningRate ?? 2e-3, 'base.learningRate', { min: 0 }),
    warmupSteps: Math.min(100, Math.ceil(steps / 20)),
  }
}
