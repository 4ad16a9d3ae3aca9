// Every value that a run would have: complete, and the same configuration when it is read again.
import test from 'ava'
import { createPolicyConfig } from '../../lib/policy/config.js'
import { effectiveConfig } from '../../lib/training/effective-config.js'
import { resolveTrainConfig } from '../../lib/training/train-config.js'

const policy = createPolicyConfig({ vocabSize: 64, ropeTheta: 5000, maxPositions: 256 })
const shown = (given: object) => effectiveConfig(resolveTrainConfig({ model: 'm', ...given }), policy, 2)

test("the method's values, the model's and the machine's are shown", t => {
  const { config, off } = shown({})
  t.like(config.objective, {
    clip: false,
    logRatioClamp: 20,
    shaping: { kind: 'regularized', gamma: 0.1 },
    // maxCompletionLength, numGenerations and promptsPerUpdate together
    reduction: { kind: 'constant', divisor: 64 * 8 * 8 },
    entropyCoef: 0.01,
  })
  t.deepEqual(config.advantages, {
    baseline: 'mean',
    epsilon: 1e-6,
    clip: 0,
    onPolicyWeight: 1,
    offPolicyWeight: 1,
  })
  t.like(config, { ropeTheta: 5000, maxPositions: 256, threads: 2 })
  t.true((config.maxTokensPerMicroBatch as number) >= 1024)
  t.deepEqual(off, ['objective.dualClip', 'objective.offPolicyCap'])
  t.is(effectiveConfig(resolveTrainConfig({ model: 'm' }), policy, undefined).config.threads, undefined)
})

test('a method that changes its objective by the step keeps it', t => {
  const { config, off } = shown({ method: 'sftThenRl', objective: { entropyCoef: 0.5 } })
  t.deepEqual([config.objective, config.advantages, off], [{ entropyCoef: 0.5 }, {}, []])
  t.true(Object.keys(config.methodOptions).length > 0, 'its numbers are shown')
})

test('what was given stays, and what is shown means the same', t => {
  for (const given of [
    {},
    { method: 'grpo', advantages: { clip: 2 } },
    { objective: { shaping: { kind: 'power', exponent: 0.3 }, dualClip: 3, clip: { low: 0.1, high: 0.3 } } },
    { objective: { reduction: { kind: 'token-mean' }, offPolicyCap: 2 }, maxTokensPerMicroBatch: 77 },
  ]) {
    const { config } = shown(given)
    const read = resolveTrainConfig(JSON.parse(JSON.stringify(config)))
    t.deepEqual(read, JSON.parse(JSON.stringify(config)))
    t.deepEqual(effectiveConfig(read, policy, 2).config, config)
  }
  t.is(shown({ maxTokensPerMicroBatch: 77 }).config.maxTokensPerMicroBatch, 77)
  t.deepEqual(shown({ objective: { dualClip: 3, offPolicyCap: 2 } }).off, [])
})
