// A run of eight LUFFY steps of a policy so small that it takes a second.

import { opChainsTokenizer } from '../../lib/data/op-chains/index.js'
import { Policy, type TrainConfig } from '../../lib/index.js'

export function tinyRun(outputDir: string, model: string, changes: Partial<TrainConfig> = {}): TrainConfig {
  return {
    model,
    outputDir,
    runName: 'tiny',
    method: 'luffy',
    task: { size: 24, testSize: 4 },
    maxSteps: 8,
    promptsPerStep: 4,
    promptsPerUpdate: 2,
    numGenerations: 3,
    maxCompletionLength: 40,
    learningRate: 3e-3,
    lrSchedule: 'cosine',
    warmupSteps: 2,
    evalSteps: 3,
    saveSteps: 3,
    device: 'cpu',
    threads: 2,
    ...changes,
  }
}

/** Saves the policy that the runs start from. */
export async function saveTinyModel(folder: string): Promise<void> {
  const tokenizer = opChainsTokenizer()
  await using policy = await Policy.create(
    {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 32,
      intermediateSize: 48,
      layers: 2,
      heads: 2,
      kvHeads: 1,
      maxPositions: 128,
      eosTokenIds: tokenizer.endId,
      initializerRange: 0.1,
    },
    { device: 'cpu', seed: 3 },
  )
  await policy.save(folder)
  await tokenizer.save(folder)
}
