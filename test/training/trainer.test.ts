// trainStep: its gradient against finite differences, how its result depends on nothing but its input, and what it does
// with gradients that are not finite and with groups that teach nothing.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import test from 'ava'
import {
  type GroupMember,
  NonFiniteError,
  type Policy,
  type StepMetrics,
  Trainer,
  type TrainerOptions,
  type TrainGroup,
} from '../../lib/index.js'
import { bits, isas, randomTokens, tinyNames, tinyPolicies, withPolicy } from '../_helpers/policies.js'

const optimizer = { learningRate: 1e-2, weightDecay: 0.1 }

/** Members of one prompt with responses of the given lengths; the last is a demonstration. */
function groupOf(promptLength: number, lengths: readonly number[], seed: number): { members: GroupMember[] } {
  const prompt = randomTokens(promptLength, seed)
  return {
    members: lengths.map((length, m) => {
      const response = randomTokens(length, 100 * seed + m)
      return {
        tokens: Int32Array.of(...prompt, ...response),
        promptLength,
        offPolicy: m === lengths.length - 1,
        reward: m % 2,
      }
    }),
  }
}

const someGroups: TrainGroup[] = [
  groupOf(9, [4, 11, 1, 6], 1),
  groupOf(70, [3, 66, 5], 2),
  groupOf(64, [7, 2], 3),
]

/** Numbers in [low, high), the same for the same seed. */
function numbers(length: number, low: number, high: number, seed: number): Float32Array {
  return Float32Array.from(randomTokens(length, seed, 10_003), x => low + ((high - low) * (x - 3)) / 10_000)
}

/** A group with everything a member can have. */
function richGroup(reference: boolean): TrainGroup {
  const { members } = groupOf(6, [5, 4, 7], 4)
  const extra = (m: number, length: number): Partial<GroupMember> => ({
    ...(m === 0 ? {} : { oldLogProbs: numbers(length, -5, -3, 10 + m) }),
    advantage: m === 1 ? 0.8 : numbers(length, -1, 1, 20 + m),
    ...(reference ? { refLogProbs: numbers(length, -5, -3, 30 + m) } : {}),
    ...(m === 2 ? { teacherProbs: numbers(length, 0.05, 0.9, 40) } : {}),
    ...(m === 1 ? { mask: Uint8Array.of(1, 0, 1, 1) } : {}),
    offPolicy: m === 2 ? Uint8Array.of(1, 1, 1, 1, 0, 0, 0) : false,
  })
  return {
    members: members.map((member, m) => {
      const { reward: _, ...rest } = member
      return { ...rest, ...extra(m, member.tokens.length - member.promptLength) }
    }),
  }
}

/** Flat parameters, as bits. */
async function parameters(policy: Policy): Promise<Uint32Array> {
  return bits(await policy.device.readFloat32(policy.model.values))
}

async function flatGradient(trainer: Trainer): Promise<Float32Array> {
  const { layout } = trainer.policy.model
  const flat = new Float32Array(layout.size)
  for (const [name, { data }] of await trainer.gradients()) flat.set(data, layout.byName.get(name)!.offset)
  return flat
}

const norm = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0))
const distance = (a: Float32Array, b: Float32Array) => norm(a.map((x, i) => x - (b[i] as number)))

/** Loss and gradient of the groups, parameters unchanged. */
async function lossAndGradient(policy: Policy, groups: readonly TrainGroup[], options: TrainerOptions) {
  await using trainer = await Trainer.create(policy, { ...options, optimizer: { learningRate: 0 } })
  const metrics = await trainer.trainStep(groups)
  return { metrics, gradient: await flatGradient(trainer) }
}

const methods: [string, TrainerOptions, () => TrainGroup[]][] = [
  ['luffy', { method: 'luffy' }, () => someGroups],
  ['sft', { method: 'sft' }, () => someGroups],
  [
    'everything',
    {
      objective: {
        clip: { low: 0.9, high: 5 },
        shaping: { kind: 'power', exponent: 0.7 },
        reduction: { kind: 'sequence-mean' },
        klCoef: 0.1,
        entropyCoef: 0.02,
      },
      temperature: 0.8,
    },
    () => [richGroup(true)],
  ],
]

for (const name of tinyNames) {
  for (const [method, options, groups] of methods) {
    test(`finite differences: ${name}, ${method}`, async t => {
      const config = { ...tinyPolicies[name], initializerRange: 0.15 }
      await withPolicy(config, { threads: 2 }, async (policy, device) => {
        // Old log-probabilities must be constants, or the ratio would follow the parameters: those of the start.
        const fixed: TrainGroup[] = []
        for (const group of groups()) {
          const scored = await policy.logProbs(group.members, { temperature: options.temperature ?? 1 })
          fixed.push({
            members: group.members.map((m, i) => ({ oldLogProbs: scored[i]!.logProbs, ...m })),
          })
        }
        const { gradient } = await lossAndGradient(policy, fixed, options)
        const start = await device.readFloat32(policy.model.values)
        for (let direction = 0; direction < 3; direction++) {
          // Along the gradient mixed with noise: a slope large enough to stand out of float32 rounding.
          const noise = numbers(start.length, -1, 1, 60 + direction)
          const [large, small] = [norm(gradient), norm(noise)]
          const unit = gradient.map((g, i) => g / large + (noise[i] as number) / small)
          const slope = unit.reduce((sum, u, i) => sum + u * (gradient[i] as number), 0)
          const at = async (step: number) => {
            device.write(
              policy.model.values,
              start.map((x, i) => x + step * (unit[i] as number)),
            )
            return (await lossAndGradient(policy, fixed, options)).metrics.loss as number
          }
          // A fourth-order difference: its own error is far below the rounding of the loss.
          const h = 4e-3
          const [a, b, c, d] = [await at(-2 * h), await at(-h), await at(h), await at(2 * h)]
          const measured = (a - 8 * b + 8 * c - d) / (12 * h)
          t.true(Math.abs(measured / slope - 1) < 3e-3, `${measured} ${slope}`)
        }
      })
    })
  }
}

for (const method of ['luffy', 'sft'] as const) {
  test(`${method}: the loss and the gradient do not depend on how the batch is cut and packed`, async t => {
    await withPolicy(tinyPolicies.qwen2, { threads: 2 }, async policy => {
      const reference = await lossAndGradient(policy, someGroups, { method })
      const variants: [TrainerOptions, readonly TrainGroup[]][] = [
        [{ maxTokensPerMicroBatch: 1 }, someGroups],
        [{ maxTokensPerMicroBatch: 80 }, someGroups],
        [{ maxTokensPerMicroBatch: 150 }, someGroups],
        [{ sharePrompts: false }, someGroups],
        [{ sharePrompts: false, maxTokensPerMicroBatch: 200 }, someGroups],
        [{}, [...someGroups].reverse()],
        [{}, someGroups.map(({ members }) => ({ members: [...members].reverse() }))],
      ]
      for (const [options, groups] of variants) {
        const { metrics, gradient } = await lossAndGradient(policy, groups, { method, ...options })
        // Sums of the same float32 numbers in another order.
        const where = JSON.stringify(options)
        t.true(Math.abs((metrics.loss as number) - (reference.metrics.loss as number)) < 1e-9, where)
        t.true(distance(gradient, reference.gradient) < 2e-6 * norm(reference.gradient), where)
        for (const name of [
          'entropy',
          'onPolicyProbability',
          'offPolicyProbability',
          'offPolicyRatio',
        ] as const) {
          t.true(Math.abs((metrics[name] as number) - (reference.metrics[name] as number)) < 1e-9, name)
        }
      }
      const again = await lossAndGradient(policy, someGroups, { method })
      t.deepEqual(bits(again.gradient), bits(reference.gradient))
      const recomputed = await lossAndGradient(policy, someGroups, { method, gradientCheckpointing: true })
      t.deepEqual(bits(recomputed.gradient), bits(reference.gradient))
      t.is(recomputed.metrics.loss, reference.metrics.loss)
    })
  })
}

for (const isa of isas) {
  test(`one and two threads give the same bytes after three steps: ${isa}`, async t => {
    for (const name of tinyNames) {
      const run = (threads: number) =>
        withPolicy(tinyPolicies[name], { threads, isa }, async policy => {
          await using trainer = await Trainer.create(policy, { optimizer, maxTokensPerMicroBatch: 190 })
          const losses: unknown[] = []
          for (let i = 0; i < 3; i++) losses.push((await trainer.trainStep(someGroups)).loss)
          return [losses, await parameters(policy)]
        })
      t.deepEqual(await run(1), await run(2), name)
    }
  })
}

test('groups of every shape train: no members, all masked, single ones', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 2 }, async policy => {
    const real = someGroups[0] as TrainGroup
    const tokens = randomTokens(5, 9)
    const unseen: GroupMember = {
      tokens,
      promptLength: 4,
      offPolicy: false,
      mask: new Uint8Array(1),
      advantage: 1,
    }
    const masked: GroupMember = { tokens, promptLength: 2, offPolicy: true, mask: new Uint8Array(3) }
    const token: GroupMember = { tokens, promptLength: 4, offPolicy: false, advantage: 0.5 }
    const reduction = { kind: 'constant', divisor: 50 } as const
    const options: TrainerOptions = { method: 'luffy', objective: { reduction } }
    const { gradient, metrics } = await lossAndGradient(policy, [real], options)
    for (const others of [
      [{ members: [] }],
      [{ members: [unseen] }],
      [{ members: [masked, masked] }],
      [{ members: [unseen, masked] }, { members: [] }],
    ]) {
      const padded = await lossAndGradient(policy, [...others, real], options)
      t.deepEqual(bits(padded.gradient), bits(gradient))
      t.is(padded.metrics.loss, metrics.loss)
    }
    const { metrics: one } = await lossAndGradient(policy, [{ members: [token] }], options)
    t.is(one.onPolicyTokens, 1)
    t.true(Number.isFinite(one.loss) && (one.gradNorm as number) > 0)
    for (const kind of ['constant', 'token-mean', 'sequence-mean'] as const) {
      await using trainer = await Trainer.create(policy, {
        objective: { reduction: { kind } },
        updateWithoutSignal: true,
        optimizer,
      })
      const before = await parameters(policy)
      for (const groups of [[], [{ members: [] }], [{ members: [masked, unseen] }]]) {
        const nothing = await trainer.trainStep(groups)
        t.is(nothing.loss, 0)
        t.is(nothing.gradNorm, 0)
        t.false(
          Object.values(nothing).some(value => Number.isNaN(value)),
          JSON.stringify(nothing),
        )
      }
      t.notDeepEqual(await parameters(policy), before) // weight decay acts: this update was asked for
    }
  })
})

test('a batch without any advantage is skipped and counted, unless the update is asked for', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    const flat: TrainGroup[] = someGroups.map(({ members }) => ({
      members: members.map(member => ({ ...member, reward: 1 })),
    }))
    const before = await parameters(policy)
    {
      await using trainer = await Trainer.create(policy, { optimizer })
      const metrics = await trainer.trainStep(flat)
      t.like(metrics, { step: 1, noSignalUpdates: 1, skippedUpdates: 0, fracRewardZeroStd: 1 })
      t.like(trainer.state, { steps: 1, updates: 0, noSignalUpdates: 1, tokens: 0 })
      t.deepEqual(await parameters(policy), before)
      t.is((await trainer.trainStep(someGroups)).noSignalUpdates, 0)
      t.like(trainer.state, { steps: 2, updates: 1, noSignalUpdates: 1 })
    }
    const trained = await parameters(policy)
    await using trainer = await Trainer.create(policy, { optimizer, updateWithoutSignal: true })
    const metrics = await trainer.trainStep(flat)
    t.is(metrics.noSignalUpdates, 0)
    t.true((metrics.gradNorm as number) > 0) // the entropy bonus acts
    t.notDeepEqual(await parameters(policy), trained)
  })
})

/** Writes NaN over one weight and returns how to take it back. */
async function breakWeights(policy: Policy): Promise<() => void> {
  const { device, model } = policy
  const values = await device.readFloat32(model.values)
  const broken = values.slice()
  broken[model.layout.byName.get('model.norm.weight')!.offset] = Number.NaN
  device.write(model.values, broken)
  return () => device.write(model.values, values)
}

test('a gradient that is not finite: the update is skipped to the bit, counted, and ends the run at the budget', async t => {
  await withPolicy(tinyPolicies.qwen3, { threads: 2 }, async (policy, device) => {
    await using trainer = await Trainer.create(policy, { optimizer, maxSkippedUpdates: 2 })
    await trainer.trainStep(someGroups)
    const moments = async () => {
      const { folder, read, remove } = await momentFile()
      const state = await trainer.saveState(folder)
      const bytes = await read()
      await remove()
      return { bytes, updates: state.updates }
    }
    const savedMoments = await moments()
    const repair = await breakWeights(policy)
    const before = await parameters(policy)
    const skipped: StepMetrics[] = []
    for (let i = 0; i < 2; i++) skipped.push(await trainer.trainStep(someGroups))
    t.true(skipped.every(metrics => metrics.skippedUpdates === 1 && Number.isNaN(metrics.gradNorm)))
    t.like(trainer.state, { steps: 3, updates: 1, skippedUpdates: 2, skippedInARow: 2 })
    t.deepEqual(await parameters(policy), before)
    t.deepEqual(await moments(), savedMoments)
    const error = await t.throwsAsync(trainer.trainStep(someGroups), { instanceOf: NonFiniteError })
    t.regex(error.message, /3 updates in a row.*step 4/)
    t.is((error as NonFiniteError).exitCode, 5)
    t.deepEqual(await parameters(policy), before)
    t.deepEqual(await moments(), savedMoments)

    // With finite weights the same trainer goes on, and the count starts again.
    repair()
    t.is((await trainer.trainStep(someGroups)).skippedUpdates, 0)
    t.like(trainer.state, { updates: 2, skippedUpdates: 3, skippedInARow: 0 })
    await device.synchronize()
  })
})

async function momentFile() {
  const { mkdtemp, readFile, rm } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const { join } = await import('node:path')
  const folder = await mkdtemp(join(tmpdir(), 'luffy-test-'))
  return {
    folder,
    read: () => readFile(join(folder, 'optimizer.safetensors')),
    remove: () => rm(folder, { recursive: true }),
  }
}

test.serial('a pass that fails half-way leaves no tensor behind', async t => {
  for (const gradientCheckpointing of [false, true]) {
    await withPolicy(tinyPolicies.qwen3, { threads: 1 }, async (policy, device) => {
      await using trainer = await Trainer.create(policy, { optimizer, gradientCheckpointing })
      await trainer.trainStep(someGroups)
      const { liveTensors, liveBytes } = device.info()
      const ops = device.ops as unknown as Record<string, (...rest: unknown[]) => unknown>
      const wanted = [
        'swigluForward',
        'attentionForward',
        'linearPolicyLoss',
        'rmsNormBackward',
        'attentionBackward',
      ]
      for (const name of wanted) {
        for (const call of [1, 2]) {
          const real = ops[name] as (...rest: unknown[]) => unknown
          let calls = 0
          ops[name] = (...rest) => {
            if (++calls === call || name === 'linearPolicyLoss') throw new Error(`out of luck in ${name}`)
            return real(...rest)
          }
          await t.throwsAsync(trainer.trainStep(someGroups), { message: /out of luck/ })
          ops[name] = real
          t.deepEqual([device.info().liveTensors, device.info().liveBytes], [liveTensors, liveBytes], name)
        }
      }
      t.is((await trainer.trainStep(someGroups)).skippedUpdates, 0)
    })
  }
})

test('200 steps with their sampling leave live bytes and tensors where they were', async t => {
  const config = { ...tinyPolicies.qwen2, hiddenSize: 16, heads: 2, kvHeads: 1, headDim: 8, layers: 1 }
  await withPolicy(config, { threads: 2 }, async (policy, device) => {
    await using trainer = await Trainer.create(policy, { optimizer: { learningRate: 1e-4 } })
    const prompts = [1, 2, 3].map(seed => randomTokens(4 + seed, seed))
    const seen = new Set<string>()
    for (let step = 0; step < 200; step++) {
      const completions = await policy.sample(prompts, { maxTokens: 6, samplesPerPrompt: 3, step })
      const groups = prompts.map((prompt, p) => ({
        members: completions
          .filter(({ promptIndex }) => promptIndex === p)
          .map(({ tokens, logProbs, sampleIndex }) => ({
            tokens: Int32Array.of(...prompt, ...tokens),
            promptLength: prompt.length,
            offPolicy: sampleIndex === 2,
            oldLogProbs: logProbs,
            reward: (sampleIndex + step) % 2,
          })),
      }))
      await trainer.trainStep(groups)
      const { liveBytes, liveTensors } = device.info()
      seen.add(`${liveBytes} bytes in ${liveTensors} tensors`)
    }
    t.deepEqual([...seen].length, 1, [...seen].join())
    t.is(trainer.state.updates + trainer.state.noSignalUpdates, 200)
  })
})

test.serial('the event loop stays free while a policy is trained', async t => {
  const config = {
    vocabSize: 64,
    hiddenSize: 128,
    intermediateSize: 384,
    layers: 4,
    heads: 4,
    maxPositions: 128,
  }
  await withPolicy(config, { threads: 1 }, async policy => {
    await using trainer = await Trainer.create(policy, { optimizer: { learningRate: 1e-4 } })
    const groups = Array.from({ length: 8 }, (_, g) => groupOf(16, Array(8).fill(48), 200 + g)).map(
      ({ members }) => ({
        members: members.map(member => ({ ...member, tokens: member.tokens.map(token => token % 64) })),
      }),
    )
    await trainer.trainStep(groups)
    const p99During = async (body: () => Promise<unknown>) => {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      await body()
      delay.disable()
      return delay.percentile(99) / 1e6
    }
    // A busy machine delays everybody: what counts is what training adds to the delay of an idle process beside it.
    let best = Number.POSITIVE_INFINITY
    for (let i = 0; i < 5 && best >= 20; i++) {
      const idle = await p99During(() => new Promise(resolve => setTimeout(resolve, 300)))
      const training = await p99During(async () => {
        for (let step = 0; step < 3; step++) await trainer.trainStep(groups)
      })
      t.log(`p99 ${training.toFixed(1)} ms, idle ${idle.toFixed(1)} ms`)
      best = Math.min(best, training - Math.max(0, idle - 2))
    }
    t.true(best < 20, `${best} ms`)
  })
})
