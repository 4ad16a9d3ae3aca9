// trainStep and Trainer.create: what they refuse, and what a disposed trainer or policy says.
import test from 'ava'
import {
  BusyError,
  ConfigError,
  DisposedError,
  type GroupMember,
  Trainer,
  type TrainGroup,
} from '../../lib/index.js'
import { randomTokens, tinyPolicies, withPolicy } from '../_helpers/policies.js'

const optimizer = { learningRate: 1e-2 }
const someGroups: TrainGroup[] = [1, 2, 3].map(seed => ({
  members: [0, 1, 2].map(m => ({
    tokens: randomTokens(20 + m, seed),
    promptLength: 8,
    offPolicy: m === 2,
    reward: m % 2,
  })),
}))

test('handles that were disposed say so, and disposing twice is no fault', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    const trainer = await Trainer.create(policy, { optimizer })
    await trainer.trainStep(someGroups)
    await trainer.dispose()
    await trainer.dispose()
    await t.throwsAsync(trainer.trainStep(someGroups), { instanceOf: DisposedError })
    await t.throwsAsync(trainer.advantages(someGroups), { instanceOf: DisposedError })
    await t.throwsAsync(trainer.gradients(), { instanceOf: DisposedError })
    await t.throwsAsync(trainer.saveState('nowhere'), { instanceOf: DisposedError })
    await t.throwsAsync(trainer.loadState('nowhere', trainer.state), { instanceOf: DisposedError })
    const second = await Trainer.create(policy, { optimizer })
    await policy.dispose()
    await policy.dispose()
    await t.throwsAsync(second.trainStep(someGroups), { instanceOf: DisposedError })
    await second.dispose()
    await t.throwsAsync(policy.sample([Int32Array.of(1)]), { instanceOf: DisposedError })
    await t.throwsAsync(policy.logProbs([]), { instanceOf: DisposedError })
    await t.throwsAsync(policy.save('nowhere'), { instanceOf: DisposedError })
    await t.throwsAsync(Trainer.create(policy), { instanceOf: DisposedError })
  })
})

test('a policy that is disposed while it is trained ends the step with an error, not the process', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 2 }, async policy => {
    const trainer = await Trainer.create(policy, { optimizer, maxTokensPerMicroBatch: 20 })
    const step = trainer.trainStep(someGroups)
    const busy = await t.throwsAsync(trainer.trainStep(someGroups), { instanceOf: BusyError })
    t.regex(busy.message, /await the call that is running/)
    const [result] = await Promise.allSettled([step, policy.dispose()])
    if (result.status === 'rejected') t.true(DisposedError.isInstance(result.reason), String(result.reason))
    else t.is(result.value.step, 1)
    await trainer.dispose()
  })
})

test('options and groups that are wrong are named, and nothing is enqueued', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async (policy, device) => {
    const options: [object, object, RegExp][] = [
      [{ methud: 'luffy' }, ConfigError, /"methud".*method/],
      [{ method: 'lufy' }, ConfigError, /luffy/],
      [{ optimizer: { learning_rate: 1 } }, ConfigError, /learningRate/],
      [{ optimizer: { learningRate: -1 } }, RangeError, /learningRate/],
      [{ optimizer: { betas: [0.9, 1] } }, RangeError, /betas\[1\]/],
      [{ optimizer: { betas: 0.9 } }, TypeError, /betas/],
      [{ objective: { clip: { low: -1, high: 1 } } }, RangeError, /clip\.low/],
      [{ objective: { entropycoef: 1 } }, ConfigError, /entropyCoef/],
      [{ advantages: { baselin: 'mean' } }, ConfigError, /baseline/],
      [{ temperature: 0 }, RangeError, /temperature/],
      [{ maxTokensPerMicroBatch: 1.5 }, RangeError, /maxTokensPerMicroBatch/],
      [{ maxSkippedUpdates: -1 }, RangeError, /maxSkippedUpdates/],
    ]
    for (const [given, instanceOf, message] of options) {
      await t.throwsAsync(Trainer.create(policy, given), {
        instanceOf: instanceOf as ErrorConstructor,
        message,
      })
    }
    await using trainer = await Trainer.create(policy, { objective: { klCoef: 0.1 } })
    await device.synchronize()
    const { enqueuedOps, liveTensors } = device.info()
    const good = { tokens: randomTokens(6, 1), promptLength: 3, offPolicy: false, advantage: 1 }
    const ref = { refLogProbs: new Float32Array(3) }
    const members: [object, object, RegExp][] = [
      [{ ...good }, RangeError, /members\[0\]\.refLogProbs.*klCoef/],
      [
        { ...good, ...ref, tokens: Int32Array.of(1, 2, 97) },
        RangeError,
        /groups\[0\]\.members\[0\]\.tokens\[2\].*97/,
      ],
      [{ ...good, ...ref, promptLength: 7 }, RangeError, /promptLength/],
      [{ ...good, ...ref, promptLength: 0 }, RangeError, /promptLength/],
      [{ ...good, ...ref, offpolicy: true }, ConfigError, /offPolicy/],
      [{ ...good, ...ref, offPolicy: undefined }, TypeError, /offPolicy/],
      [{ ...good, ...ref, mask: new Uint8Array(2) }, RangeError, /mask.*3.*2/],
      [{ ...good, ...ref, mask: [1, 1, 1] }, TypeError, /mask/],
      [{ ...good, ...ref, oldLogProbs: new Float64Array(3) }, TypeError, /oldLogProbs.*Float32Array/],
      [{ ...good, ...ref, oldLogProbs: Float32Array.of(0, Number.NaN, 0) }, RangeError, /oldLogProbs\[1\]/],
      [{ ...good, ...ref, advantage: Number.POSITIVE_INFINITY }, RangeError, /advantage/],
      [{ ...good, ...ref, advantage: Float32Array.of(0, 0, Number.NaN) }, RangeError, /advantage\[2\]/],
      [{ ...good, ...ref, advantage: undefined }, RangeError, /reward/],
      [
        { ...good, ...ref, tokens: randomTokens(257, 1), refLogProbs: new Float32Array(254) },
        RangeError,
        /256/,
      ],
    ]
    for (const [member, instanceOf, message] of members) {
      await t.throwsAsync(trainer.trainStep([{ members: [member as GroupMember] }]), {
        instanceOf: instanceOf as ErrorConstructor,
        message,
      })
    }
    await t.throwsAsync(trainer.trainStep({} as TrainGroup[]), { instanceOf: TypeError, message: /groups/ })
    await t.throwsAsync(trainer.trainStep([], { learningrate: 1 } as object), { message: /learningRate/ })
    t.deepEqual([device.info().enqueuedOps, device.info().liveTensors], [enqueuedOps, liveTensors])
  })
})
