// A policy that computes in bfloat16, on the devices that do: the sampler's log-probabilities are the trainer's bit for
// bit, results are near those of the same weights in float32, and the weights that an update changes stay float32.
import test from 'ava'
import { Device, type GroupMember, Policy, Trainer } from '../../lib/index.js'
import { runsLongTests, testDeviceNames } from '../_helpers/emulator.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { bits, randomTokens, tinyNames, tinyPolicies } from '../_helpers/policies.js'

const computing = testDeviceNames().filter(name => name !== 'cpu')
// Around the edges of the cache's blocks of 64 positions.
const prompts = [1, 63, 65].map((length, i) => randomTokens(length, i))
const learningRate = 1e-3

const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0))
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  norm(Array.from(a, (x, i) => x - (b[i] as number))) / norm(b)

async function groupsOf(policy: Policy): Promise<{ members: GroupMember[] }[]> {
  const completions = await policy.sample(prompts, { maxTokens: 4, samplesPerPrompt: 2, seed: 3 })
  return prompts.map((prompt, p) => ({
    members: completions
      .filter(({ promptIndex }) => promptIndex === p)
      .map(({ tokens, logProbs }, m) => ({
        tokens: Int32Array.of(...prompt, ...tokens),
        promptLength: prompt.length,
        offPolicy: false,
        advantage: m === 0 ? 1 : -0.5,
        oldLogProbs: logProbs,
      })),
  }))
}

if (computing.length === 0) test.skip('no device that computes in bfloat16', () => {})

for (const name of computing) {
  // The others in `npm run test:emulator`.
  for (const architecture of runsLongTests ? tinyNames : (['qwen3'] as const)) {
    test(`${name}, ${architecture}`, async t => {
      await using device = await Device.open(name, { deterministic: true })
      await using policy = await Policy.create(tinyPolicies[architecture], {
        device,
        seed: 7,
        dtype: 'bfloat16',
      })
      const groups = await groupsOf(policy)
      const members = groups.flatMap(group => group.members)
      const scored = await policy.logProbs(members)
      for (const [i, member] of members.entries()) {
        t.deepEqual(bits(scored[i]!.logProbs), bits(member.oldLogProbs as Float32Array), `member ${i}`)
      }

      // With old log-probabilities every ratio is exactly 1, as it is without.
      const settings = { method: 'drGrpo', optimizer: { learningRate } } as const
      await using trainer = await Trainer.create(policy, settings)
      await trainer.trainStep(groups, { learningRate: 0 })
      const known = await trainer.gradients()
      const without = groups.map(group => ({
        members: group.members.map(({ oldLogProbs, ...member }) => member),
      }))
      await trainer.trainStep(without, { learningRate: 0 })
      const gradients = await trainer.gradients()
      for (const [parameter, { data }] of gradients) t.deepEqual(bits(known.get(parameter)!.data), bits(data))

      // The same weights, rounded as the policy computes with them, in float32.
      const folder = await temporaryFolder(t)
      await policy.save(folder, { dtype: 'bfloat16' })
      await using exact = await Policy.load(folder, { device })
      for (const [i, { logProbs }] of (await exact.logProbs(members)).entries())
        t.true(distance(scored[i]!.logProbs, logProbs) < 0.02, `${distance(scored[i]!.logProbs, logProbs)}`)
      await using exactTrainer = await Trainer.create(exact, settings)
      await exactTrainer.trainStep(without, { learningRate: 0 })
      const exactGradients = [...(await exactTrainer.gradients())]
      const largest = Math.max(...exactGradients.map(([, { data }]) => norm(data)))
      for (const [parameter, { data }] of exactGradients) {
        const got = gradients.get(parameter)!.data
        // (A bias of keys changes no softmax: its gradient is made of rounding alone.)
        const error = norm(data.map((x, i) => x - (got[i] as number)))
        // Largest seen: 0.057.
        t.true(
          error > 0 && error < 0.08 * norm(data) + 1e-3 * largest,
          `${parameter}: ${error} of ${norm(data)}`,
        )
      }

      // An update far smaller than a step of bfloat16 is kept in the float32 weights, and the copy follows them.
      const { values, half } = policy.model
      const before = await device.readFloat32(values)
      await trainer.trainStep(groups, { learningRate: 1e-6 })
      const after = await device.readFloat32(values)
      t.true(before.some((x, i) => x !== after[i]))
      await trainer.trainStep(groups)
      const [rounded, expected] = [await device.readBits16(half!), await device.readFloat32(values)]
      t.true(rounded.every((x, i) => x === nearestBits(expected[i] as number)))
      t.not((await policy.logProbs(members))[0]!.logProbs[0], scored[0]!.logProbs[0])
    })
  }

  test(`${name}: recomputed layers and parts of a batch change the gradient by its rounding at most`, async t => {
    await using device = await Device.open(name, { deterministic: true })
    const results: Float32Array[] = []
    for (const settings of [{}, { gradientCheckpointing: true, maxTokensPerMicroBatch: 70 }]) {
      await using policy = await Policy.create(tinyPolicies.qwen3, { device, seed: 7, dtype: 'bfloat16' })
      const groups = await groupsOf(policy)
      await using trainer = await Trainer.create(policy, { method: 'drGrpo', ...settings })
      await trainer.trainStep(groups, { learningRate: 0 })
      results.push(...[...(await trainer.gradients()).values()].map(({ data }) => data))
    }
    const half = results.length / 2
    for (let i = 0; i < half; i++) {
      const share = distance(results[i]!, results[half + i]!)
      t.true(share < 0.02, `${i}: ${share}`)
    }
  })
}

test('the CPU computes in float32, and says so', async t => {
  const create = Policy.create(tinyPolicies.qwen2, { device: 'cpu', dtype: 'bfloat16' })
  await t.throwsAsync(create, {
    code: 'CONFIG_INVALID',
    message: /the CPU computes in float32, got 'bfloat16'/,
  })
  const wrong = Policy.create(tinyPolicies.qwen2, { device: 'cpu', dtype: 'float16' as 'float32' })
  await t.throwsAsync(wrong, { message: /dtype: expected/ })
})

/** The bits of the nearest bfloat16, ties to even. */
function nearestBits(x: number): number {
  const word = new Uint32Array(Float32Array.of(x).buffer)[0] as number
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff
}
