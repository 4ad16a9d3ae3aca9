// HPT, hybrid post-training (arXiv 2509.04419): for each prompt either RL or supervised learning, by how the samples did.
//
//   P = share of right samples of the prompt
//   P > gate    RL on the samples: as drGrpo, A_i = R_i - mean(R over the samples), sum of token losses / constant
//   P <= gate   cross-entropy on the prompt's demonstration (gate = 0: no sample is right), token mean, times sftCoef
//
// A prompt without a demonstration keeps its samples. With advantages.baseline mean-std the RL term is GRPO's.
import { drGrpo } from './grpo.js'
import type { Method } from './method.js'
import { numberOf } from './options.js'

export const hpt: Method = {
  ...drGrpo,
  name: 'hpt',
  demonstrations: true,
  demonstrationTokens: 'supervised',
  objective: { ...drGrpo.objective, sftReduction: { kind: 'token-mean' } },
  options: {
    gate: {
      default: 0,
      min: 0,
      max: 1,
      about: 'largest share of right samples at which the demonstration is learned',
    },
  },
  choose(members, options) {
    const samples = members.filter(({ source }) => source === 'sample')
    const others = members.filter(({ source }) => source !== 'sample')
    const right = samples.filter(({ reward = 0 }) => reward >= 1).length
    const passed = right > numberOf(options, 'gate') * samples.length
    return passed || others.length === 0 ? samples : others
  },
  minimizes:
    'per prompt: max(-A r, -A clip(r, 0.8, 1.2)) where a sample is right, else -log p on the demonstration',
  source: 'arXiv 2509.04419',
}
