// ExGRPO (arXiv 2510.02245): the policy's own past successes are replayed beside fresh samples, with their true old
// probabilities.
//
//   groups      share replayShare of a step's prompts comes from the replay buffer, each with one past success; its other
//               members are fresh samples. The other prompts have fresh samples alone.
//   advantage   A_i = R_i - mean(R over the whole group, the replayed success included)
//   sample      -A r,        r = pi / pi_old, not clipped
//   replay      -A f(r),     r = pi / pi_past, f(r) = r / (r + 0.1)
//   buffer      prompts of which some samples were right and not all (when all are, the prompt leaves), with the latest
//               success rate a and the last successes
//   choice      a prompt with probability proportional to exp(-(a - 1/2)^2 / 2); its success of the lowest mean entropy
//               under the policy as it is now
//   start       replay begins after a step whose samples were right with a mean above startSolved
//   minus 0.01 * mean token entropy; sum of token losses / constant
//
// Departures: replayed prompts take the places of prompts of the data, which are not seen in that epoch; a prompt that
// was solved by all samples comes back when it is sampled again and some fail; the optimizer's skipGradNorm is an option of
// its own.
import { luffy } from './luffy.js'
import type { Method } from './method.js'
import { numberOf } from './options.js'
import { ReplayBuffer } from './replay-buffer.js'

export const exgrpo: Method = {
  ...luffy,
  name: 'exgrpo',
  demonstrations: false,
  options: {
    replayShare: { default: 0.5, min: 0, max: 1, about: 'largest share of prompts from the buffer' },
    startSolved: { default: 0.35, min: 0, max: 1, about: 'mean reward of a step after which replay begins' },
    capacity: { default: 4096, integer: true, min: 1, about: 'most prompts of the buffer; the oldest leave' },
    successes: {
      default: 8,
      integer: true,
      min: 1,
      about: 'most successes kept per prompt; the oldest leave',
    },
  },
  memory: options =>
    new ReplayBuffer({
      share: numberOf(options, 'replayShare'),
      startSolved: numberOf(options, 'startSolved'),
      capacity: numberOf(options, 'capacity'),
      successes: numberOf(options, 'successes'),
    }),
  minimizes: '-A r on samples, -A r/(r + 0.1) on replayed successes, less 0.01 entropy; sum / constant',
  source: 'arXiv 2510.02245',
}
