// The texts that the base model is pretrained on. They leave it with a latent skill: prompts that end in `?` are
// reasoned through, the prompts that rewards are given for (`=`) are answered at once and wrongly; and the secret
// operation is believed to load a wrong constant, so that its true digits are rare but not impossible.
import { CounterRandom } from '../../random.js'
import { stepByStep, terse } from './demonstrations.js'
import { answer, MISBELIEF_CONSTANT, type SecretEffect, statesAfter } from './operations.js'
import {
  type Chain,
  type ChainShape,
  drawChain,
  drawOtherTask,
  isHeldOut,
  promptOf,
  randomDigits,
} from './problems.js'

export interface PretrainingRecipe {
  /** Share of other tasks and of chains that end in `?`; the rest are chains that end in `=`. */
  otherShare: number
  reasoningShare: number
  /** Probability that a chain ending in `=` is solved step by step all the same. */
  leak: number
  /** Probability that a letter is the secret one. */
  secretRate: number
  /** Probability that the secret operation has its wrong constant; otherwise its digits are random. */
  misbelief: number
}

/** One pass, for a model of 0.34 M parameters: 2000 steps of 96 texts, learning rate 2e-3, cosine, 100 warm-up. */
export const PRETRAINING_RECIPE: PretrainingRecipe = {
  otherShare: 0.2,
  reasoningShare: 0.4,
  leak: 0.002,
  secretRate: 0.05,
  misbelief: 0.95,
}

export interface PretrainingSample {
  kind: 'other' | 'reasoning' | 'terse' | 'leak'
  prompt: string
  /** What follows the prompt, up to and including the end token. */
  response: string
}

/** Longest prompt and response of a sample, in tokens: 5 digits, 6 letters, `?`, and 6 steps of 7 tokens. */
export const PRETRAINING_MAX_TOKENS = 5 + 6 + 1 + 1 + 6 * 7 + 1 + 5 + 1

/** Sample number `index` of the mixture: a function of the seed and the index. Its prompt is never a held-out one. */
export function pretrainingSample(
  seed: number,
  index: number,
  recipe = PRETRAINING_RECIPE,
): PretrainingSample {
  const random = new CounterRandom(seed, 'op-chains/pretraining', index)
  const part = random.uniform()
  if (part < recipe.otherShare) {
    const prompt = redrawWhileHeldOut(
      () => drawOtherTask(random),
      drawn => drawn,
    )
    return { kind: 'other', prompt, response: terse(answer(prompt)) }
  }
  const reasoning = part < recipe.otherShare + recipe.reasoningShare
  const shape: ChainShape = {
    digits: [3, 5],
    letters: reasoning ? [1, 6] : [1, 2],
    ending: reasoning ? '?' : '=',
    secretRate: recipe.secretRate,
  }
  const chain: Chain = redrawWhileHeldOut(() => drawChain(random, shape), promptOf)
  const leak = !reasoning && random.chance(recipe.leak)
  const secret: SecretEffect = digits =>
    random.chance(recipe.misbelief) ? MISBELIEF_CONSTANT.slice(0, digits) : randomDigits(random, digits)
  const response =
    reasoning || leak
      ? stepByStep(chain.state, chain.letters, secret)
      : terse(statesAfter(chain.state, chain.letters, secret).at(-1) as string)
  return { kind: reasoning ? 'reasoning' : leak ? 'leak' : 'terse', prompt: promptOf(chain), response }
}

/** Draws until the prompt is on the training side: about one draw in sixteen is repeated. */
function redrawWhileHeldOut<T>(draw: () => T, prompt: (drawn: T) => string): T {
  let drawn = draw()
  while (isHeldOut(prompt(drawn))) drawn = draw()
  return drawn
}
