// Options beside the method: each changes what is trained on in the way it says.
import test from 'ava'
import { opChainsTokenizer } from '../../lib/data/op-chains/index.js'
import {
  type GroupMember,
  type Method,
  methods,
  opChainsTask,
  type Policy,
  type TrainConfig,
  Trainer,
  type TrainerOptions,
} from '../../lib/index.js'
import { TokenKind } from '../../lib/ops/policy-objective.js'
import { rollOutStep } from '../../lib/training/dynamic-sampling.js'
import { prefixShare } from '../../lib/training/prefix.js'
import type { StepContext } from '../../lib/training/responses.js'
import { rollOut } from '../../lib/training/rollout.js'
import { resolveTrainConfig, trainerOptionsOf } from '../../lib/training/train-config.js'
import { tinyPolicies, withPolicy } from '../_helpers/policies.js'
import { groupsOf } from '../methods/_reference.js'

const rewards = [
  [1, 0, 0, 1],
  [0, 0, 1],
]

/** The gradient's norm of a LUFFY step under options; its groups have old log-probabilities off the current ones. */
async function gradNorm(policy: Policy, options: TrainerOptions): Promise<number> {
  const members = groupsOf(rewards, true)
  const scored = await policy.logProbs(members.flat())
  let next = 0
  const groups = members.map(group => ({
    members: group.map((m): GroupMember => {
      const { logProbs } = scored[next++]!
      return { ...m, oldLogProbs: logProbs.map((lp, t) => lp + (t % 2 ? 0.5 : -0.22)) }
    }),
  }))
  await using trainer = await Trainer.create(policy, {
    method: 'luffy',
    ...options,
    optimizer: { learningRate: 0 },
  })
  return (await trainer.trainStep(groups)).gradNorm as number
}

test('every option of objective and advantages changes the gradient', async t => {
  await withPolicy({ ...tinyPolicies.qwen2, initializerRange: 0.15 }, { threads: 2 }, async policy => {
    const variants: TrainerOptions[] = [
      {},
      { objective: { shaping: { kind: 'regularized', gamma: 0.3 } } },
      { objective: { shaping: { kind: 'none' } } },
      { objective: { shaping: { kind: 'sqrt' } } },
      { objective: { shaping: { kind: 'power', exponent: 0.3 } } },
      { objective: { clip: { low: 0.2, high: 0.2 } } },
      { objective: { clip: { low: 0.2, high: 0.28 } } },
      { objective: { dualClip: 1.2 } },
      { objective: { offPolicyCap: 0.01 } },
      { objective: { entropyCoef: 0 } },
      { objective: { policyCoef: 0.5 } },
      { objective: { reduction: { kind: 'token-mean' } } },
      { objective: { reduction: { kind: 'sequence-mean' } } },
      { advantages: { offPolicyWeight: 0.5 } },
      { advantages: { onPolicyWeight: 0.5 } },
      { advantages: { clip: 0.4 } },
      { advantages: { baseline: 'mean-std' } },
      { advantages: { baseline: 'on-policy-mean' } },
      { advantages: { baseline: 'on-policy-mean-std' } },
    ]
    const norms: number[] = []
    for (const options of variants) norms.push(await gradNorm(policy, options))
    for (const [i, a] of norms.entries()) {
      for (const [j, b] of norms.entries()) {
        if (i < j) t.not(a, b, `${JSON.stringify(variants[i])} ${JSON.stringify(variants[j])}`)
      }
    }
  })
})

test('skipGradNorm: a larger gradient changes nothing and is counted, but is no divergence', async t => {
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async (policy, device) => {
    const groups = groupsOf(rewards, true).map(members => ({ members }))
    const before = await device.readFloat32(policy.model.values)
    const norm = await gradNorm(policy, {})
    const create = (skipGradNorm: number) =>
      Trainer.create(policy, { optimizer: { learningRate: 1e-3, skipGradNorm }, maxSkippedUpdates: 0 })
    await using low = await create(norm / 100)
    t.is((await low.trainStep(groups)).skippedUpdates, 1)
    t.is((await low.trainStep(groups)).skippedUpdates, 1)
    t.like(low.state, { updates: 0, tokens: 0, skippedUpdates: 2, skippedInARow: 0 })
    t.deepEqual(await device.readFloat32(policy.model.values), before)
    await using near = await create(norm / 1.05)
    t.is((await near.trainStep(groups)).skippedUpdates, 1)
    t.deepEqual(await device.readFloat32(policy.model.values), before)
    await using high = await create(norm * 100)
    t.is((await high.trainStep(groups)).skippedUpdates, 0)
    t.notDeepEqual(await device.readFloat32(policy.model.values), before)
  })
})

test('the share of a trace that is given', t => {
  const at = (options: Parameters<typeof prefixShare>[0], step: number, place = 0, prefix?: number) =>
    prefixShare(options, prefix === undefined ? {} : { prefix }, { seed: 1, step, place })
  t.is(at(undefined, 1), undefined)
  t.is(at({ fraction: 0.25 }, 9), 0.25)
  t.is(at({ fraction: 0.25 }, 9, 0, 0.5), 0.5)
  const drawn = Array.from({ length: 200 }, (_, place) => at({ fraction: [0.2, 0.6] }, 3, place) as number)
  t.true(Math.min(...drawn) >= 0.2 && Math.max(...drawn) < 0.6 && new Set(drawn).size === 200)
  t.true(Math.abs(drawn.reduce((a, b) => a + b) / 200 - 0.4) < 0.04)
  const schedule = { kind: 'linear' as const, from: 0.9, to: 0.1, steps: 5 }
  const close = (got: number | undefined, want: number) =>
    t.true(Math.abs((got as number) - want) < 1e-12, `${got}`)
  for (const [step, want] of [
    [1, 0.9],
    [2, 0.7],
    [5, 0.1],
    [50, 0.1],
  ] as const)
    close(at({ schedule }, step), want)
  close(at({ schedule: { ...schedule, kind: 'cosine' } }, 2), 0.1 + (0.8 * (1 + Math.SQRT1_2)) / 2)
})

/** A step's context over a policy that ends at random, and the items of a step. */
async function withStep(
  changes: Partial<TrainConfig>,
  body: (context: StepContext, task: ReturnType<typeof opChainsTask>, trainer: Trainer) => Promise<void>,
): Promise<void> {
  const tokenizer = opChainsTokenizer()
  const model = { ...tinyPolicies.qwen2, vocabSize: tokenizer.vocabSize, initializerRange: 0.02 }
  await withPolicy(model, { threads: 2 }, async policy => {
    const config = resolveTrainConfig({
      model: 'm',
      promptsPerStep: 4,
      promptsPerUpdate: 4,
      numGenerations: 4,
      maxCompletionLength: 90,
      ...changes,
    })
    await using trainer = await Trainer.create(policy, trainerOptionsOf(config))
    const task = opChainsTask({ size: 64, testSize: 1 })
    await body({ policy, task, config, moment: trainer.at(1), samplingStep: 1 }, task, trainer)
  })
}

test('a prefix: its tokens are the trace, off-policy; what follows is sampled, within the limit', async t => {
  await withStep({ prefix: { fraction: 0.4 } }, async (context, task, trainer) => {
    const items = task.training.slice(0, 4)
    const { groups, rows } = await rollOut(context, items)
    const prepared = await trainer.prepare(groups, { step: 1 })
    for (const [g, { members }] of groups.entries()) {
      const trace = task.tokenizer.encode(items[g]?.demonstration as string)
      const given = Math.round(0.4 * trace.length)
      const member = members.at(-1) as GroupMember
      const response = member.tokens.slice(member.promptLength)
      t.deepEqual(response.slice(0, given), trace.slice(0, given))
      t.true(response.length > given && response.length <= 90)
      t.deepEqual(member.offPolicy, new Uint8Array(response.length).fill(1, 0, given))
      t.is(members.length, 4)
      t.deepEqual([...(prepared.members[g]?.at(-1)?.kinds ?? [])].slice(given - 1, given + 1), [2, 1])
      // The old log-probabilities are those under the prefix.
      const [scored] = await context.policy.logProbs([member])
      t.deepEqual(member.oldLogProbs?.slice(given), scored?.logProbs.slice(given))
    }
    t.is(rows.filter(({ source }) => source === 'off').length, 4)
    t.true(((await trainer.trainStep(prepared)).noSignalUpdates ?? 0) <= 1)
  })
  for (const [fraction, kinds] of [
    [1, ['off']],
    [0, ['on']],
  ] as const) {
    await withStep({ prefix: { fraction } }, async (context, task) => {
      const { rows } = await rollOut(context, task.training.slice(0, 2))
      t.deepEqual([...new Set(rows.filter((_, i) => i % 4 === 3).map(({ source }) => source))], [...kinds])
      // What is sampled after the prefix is no copy of another sample.
      for (const g of [0, 1]) {
        const own = rows.filter(({ group }) => group === g).map(({ tokens }) => String(tokens))
        t.is(new Set(own).size, 4)
      }
    })
  }
})

test('a hint that shortens (UFT, arXiv 2505.16984) is a method of the caller: supervised prefix, sampled rest', async t => {
  const uft: Method = {
    ...methods.grpo,
    name: 'uft',
    demonstrations: true,
    demonstrationTokens: 'supervised',
    objective: { ...methods.grpo.objective, sftCoef: 0.001 },
    at: step => ({ prefix: 1 / (step + 1) }),
  }
  await withStep({ method: uft }, async (context, task, trainer) => {
    for (const step of [1, 3]) {
      const moment = trainer.at(step)
      const { groups } = await rollOut({ ...context, moment }, task.training.slice(0, 2))
      const prepared = await trainer.prepare(groups, { step })
      for (const [g, group] of prepared.members.entries()) {
        const trace = task.tokenizer.encode(task.training[g]?.demonstration as string)
        const kinds = [...(group.at(-1)?.kinds ?? [])]
        t.is(
          kinds.filter(kind => kind === TokenKind.supervised).length,
          Math.round(trace.length / (step + 1)),
        )
        t.is(kinds.at(-1), TokenKind.onPolicy)
      }
      const { supervisedTokens = 0, onPolicyTokens = 0 } = await trainer.trainStep(prepared)
      t.true(supervisedTokens > 0 && onPolicyTokens > supervisedTokens)
    }
  })
})

test('a demonstration of the limit is shown, one that is a token longer is dropped and counted, or cut', async t => {
  const [item] = opChainsTask({ size: 64, testSize: 1 }).training
  const { length } = opChainsTokenizer().encode(item?.demonstration as string)
  for (const [limit, truncateDemonstrations, want] of [
    [length, false, [length, 0]],
    [length - 1, false, [undefined, 1]],
    [length - 1, true, [length - 1, 0]],
  ] as const) {
    await withStep({ maxCompletionLength: limit, truncateDemonstrations }, async (context, task) => {
      const { rows, metrics } = await rollOut(context, task.training.slice(0, 1))
      const shown = rows.find(({ source }) => source === 'off')?.tokens?.length
      t.deepEqual([shown, metrics.droppedDemonstrations], [...want])
    })
  }
})

test('a step after resetOptimizer is the first step of a new optimizer', async t => {
  const groups = groupsOf(rewards, true).map(members => ({ members }))
  const after = async (reset: boolean) => {
    let values: Float32Array | undefined
    await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async (policy, device) => {
      const optimizer = { learningRate: 1e-3 }
      await using trainer = await Trainer.create(policy, { optimizer })
      await trainer.trainStep(groups)
      if (reset) {
        await trainer.resetOptimizer()
        await trainer.trainStep(groups)
      } else {
        await using fresh = await Trainer.create(policy, { optimizer })
        await fresh.trainStep(groups)
      }
      values = await device.readFloat32(policy.model.values)
    })
    return values
  }
  t.deepEqual(await after(true), await after(false))
})

test('responses that are cut: kept, without tokens, without advantage, or out of their group', async t => {
  const seen = new Map<unknown, { mask: number; weight0: number; members: number }>()
  for (const maskTruncated of [false, true, 'advantage', 'member'] as const) {
    await withStep(
      { maskTruncated, maxCompletionLength: 20, truncateDemonstrations: true },
      async (context, task) => {
        const reward = ({ tokens }: { tokens: Int32Array }) => (tokens.length < 20 ? 1 : 0.25)
        const { groups, rows } = await rollOut(
          { ...context, task: { ...task, reward } },
          task.training.slice(0, 4),
        )
        const cut = rows.filter(({ finishReason }) => finishReason === 'length').length
        t.true(cut > 0 && cut < 12, `${cut} cut`)
        const members = groups.flatMap(group => group.members)
        seen.set(maskTruncated, {
          mask: members.filter(({ mask }) => mask !== undefined).length / cut,
          weight0: members.filter(({ weight }) => weight === 0).length / cut,
          members: (rows.length - members.length) / cut,
        })
      },
    )
  }
  t.deepEqual(Object.fromEntries(seen), {
    false: { mask: 0, weight0: 0, members: 0 },
    true: { mask: 1, weight0: 0, members: 0 },
    advantage: { mask: 0, weight0: 1, members: 0 },
    member: { mask: 0, weight0: 0, members: 1 },
  })
})

test('dynamic sampling: groups of equal rewards give way to other prompts, for so many rounds', async t => {
  const run = async (changes: Partial<TrainConfig>, solved: (prompt: string) => boolean) => {
    const asked: number[] = []
    let result: Awaited<ReturnType<typeof rollOutStep>> | undefined
    await withStep({ method: 'grpo', maxCompletionLength: 8, ...changes }, async (context, task) => {
      let count = 0
      const reward = ({ prompt }: { prompt: string }) => (solved(prompt) ? count++ % 2 : 0)
      const itemsOf = async (step: number) => {
        asked.push(step)
        return task.training.slice(4 * asked.length, 4 * asked.length + 4)
      }
      const first = task.training.slice(0, 4)
      result = await rollOutStep({ ...context, task: { ...task, reward } }, itemsOf, first)
    })
    return { asked, ...result! }
  }
  const task = opChainsTask({ size: 64, testSize: 1 })
  const good = new Set([1, 2, 6, 8, 9].map(i => task.training[i]?.prompt))
  const off = await run({}, prompt => good.has(prompt))
  t.deepEqual([off.groups.length, off.asked.length, off.metrics.skippedGroups], [4, 0, undefined])
  const skipped = await run({ skipUniformGroups: true }, prompt => good.has(prompt))
  t.deepEqual([skipped.groups.length, skipped.asked.length, skipped.metrics.skippedGroups], [2, 0, 2])
  const filled = await run({ skipUniformGroups: true, resampleRounds: 5 }, prompt => good.has(prompt))
  t.deepEqual([filled.groups.length, filled.asked.length, filled.metrics.skippedGroups], [4, 2, 7])
  t.is(filled.rows.length, 3 * 4 * 4)
  t.is(new Set(filled.asked).size, 2)
  // Their numbers are those of no step of a run.
  t.true(filled.asked.every(step => step > 1_000_000))
  filled.groups.forEach(({ members }, g) => {
    t.is(new Set(members.map(({ reward }) => reward)).size, 2)
    members.forEach(({ reward }, m) => {
      t.is(filled.rows[filled.memberRows[g]?.[m] as number]?.reward, reward)
    })
  })
  // Metrics tell of all that was sampled: 5 of 12 prompts are half solved.
  t.true(Math.abs((filled.metrics.reward as number) - 5 / 24) < 1e-12, `${filled.metrics.reward}`)
  const bounded = await run({ skipUniformGroups: true, resampleRounds: 2 }, () => false)
  t.deepEqual([bounded.groups.length, bounded.asked.length, bounded.metrics.skippedGroups], [0, 2, 12])
})

test('options that contradict each other are mistakes', t => {
  const mistake = (config: object) =>
    t.throws(() => resolveTrainConfig({ model: 'm', ...config }))?.message ?? ''
  t.regex(mistake({ resampleRounds: 2 }), /resampleRounds.*skipUniformGroups/)
  t.regex(
    mistake({ prefix: { fraction: 1, schedule: {} } }),
    /prefix: expected fraction or schedule, got both/,
  )
  t.regex(mistake({ maskTruncated: 'tokens' }), /maskTruncated/)
  t.regex(mistake({ methodOptions: { x: 1 } }), /methodOptions: unknown option "x"; there are none$/)
})
