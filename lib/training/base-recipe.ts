// A base policy from nothing: a small transformer pretrained on the texts of a recipe.
import { rm } from 'node:fs/promises'
import { makeFolder, renameDurable, temporaryPath } from '../io/atomic.js'
import type { PolicyOptions } from '../policy/config.js'
import type { Tokenizer } from '../policy/tokenizer-simple.js'
import { Policy } from '../sampler/policy.js'
import type { Device } from '../tensor/device.js'
import type { StepMetrics } from './metrics.js'
import { pretrain } from './pretrain.js'

export interface BaseRecipe {
  /** Of the initial weights. */
  seed: number
  tokenizer: Tokenizer
  /** The transformer; its vocabulary and end tokens are the tokenizer's. */
  policy: Omit<PolicyOptions, 'vocabSize' | 'eosTokenIds'>
  /** Text number i of the steps * batch that are learned; the loss is on the response, its end token included. */
  sample: (index: number) => { prompt: string; response: string }
  steps: number
  /** Texts per step. */
  batch: number
  /** Peak of a cosine with warm-up. */
  learningRate: number
  warmupSteps: number
}

export interface MakeBaseOptions {
  device: Device
  signal?: AbortSignal | undefined
  onStart?: ((policy: Policy) => unknown) | undefined
  onStep?: ((metrics: StepMetrics) => unknown) | undefined
}

/**
 * Pretrains a policy and saves it with its tokenizer in `folder`, which is there once it is whole. AdamW with betas
 * 0.9 and 0.98, weight decay 0.01.
 */
export async function makeBase(recipe: BaseRecipe, folder: string, options: MakeBaseOptions): Promise<void> {
  const { tokenizer, seed } = recipe
  await using policy = await Policy.create(
    { ...recipe.policy, vocabSize: tokenizer.vocabSize, eosTokenIds: [...tokenizer.endIds] },
    { device: options.device, seed },
  )
  await options.onStart?.(policy)
  await pretrain(
    policy,
    index => {
      const { prompt, response } = recipe.sample(index)
      const promptTokens = tokenizer.encode(prompt)
      const tokens = Int32Array.from([...promptTokens, ...tokenizer.encode(response)])
      return { tokens, promptLength: promptTokens.length }
    },
    {
      steps: recipe.steps,
      batch: recipe.batch,
      learningRate: recipe.learningRate,
      warmupSteps: recipe.warmupSteps,
      betas: [0.9, 0.98],
      weightDecay: 0.01,
      signal: options.signal,
      onStep: options.onStep,
    },
  )
  const temporary = temporaryPath(folder)
  try {
    await makeFolder(temporary)
    await policy.save(temporary)
    await tokenizer.save(temporary)
    await renameDurable(temporary, folder)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}
