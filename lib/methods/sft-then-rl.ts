// SFT, then on-policy RL (the comparison of arXiv 2504.14945, section 4): one run of two phases.
//
//   steps 1 to sftSteps   sft: cross-entropy on the step's demonstrations, one update, mean over tokens;
//                         learning rate: w = ceil(sftWarmup * sftSteps) steps of warm-up, then linear to 0:
//                         step i (from 0): i < w: (i + 1) / w, else 1 - (i - w) / (sftSteps - w), of sftLearningRate
//   the steps after them  drGrpo, with fresh moments; the configuration's learning-rate schedule begins here
//
// maxSteps counts both phases. What a configuration says of objective and advantages is for the second phase alone.
import { drGrpo } from './grpo.js'
import type { Method } from './method.js'
import { numberOf } from './options.js'
import { sft } from './sft.js'

export const sftThenRl: Method = {
  ...drGrpo,
  name: 'sftThenRl',
  options: {
    sftSteps: { default: 100, integer: true, min: 0, about: 'steps of the first phase, one update each' },
    sftLearningRate: { default: 5e-4, min: 0, about: 'its largest learning rate' },
    sftWarmup: { default: 0.1, min: 0, max: 1, about: 'share of its steps in which the rate rises' },
  },
  at(step, options) {
    const steps = numberOf(options, 'sftSteps')
    if (step > steps) return { scheduleStart: steps, freshOptimizer: steps > 0 && step === steps + 1 }
    const warmup = Math.ceil(numberOf(options, 'sftWarmup') * steps)
    const i = step - 1
    const share = i < warmup ? (i + 1) / warmup : 1 - (i - warmup) / (steps - warmup)
    return { as: sft, learningRate: numberOf(options, 'sftLearningRate') * share, oneUpdate: true }
  },
  minimizes: 'first sftSteps steps of sft, then drGrpo',
  source: 'arXiv 2504.14945',
}
