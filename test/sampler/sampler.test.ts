// What is drawn depends on the seed and the prompt alone; how completions end; what is left behind.
import test from 'ava'
import {
  AbortedError,
  BusyError,
  type Completion,
  ConfigError,
  NonFiniteError,
  type Policy,
  type SampleOptions,
  type SampleProgress,
  Trainer,
} from '../../lib/index.js'
import { bits, randomTokens, tinyPolicies, withPolicy } from '../_helpers/policies.js'

const prompts = [3, 64, 17, 65, 1, 130].map((length, i) => randomTokens(length, 50 + i))
const threads = { threads: 2 }

/** Completions as plain values, with log-probabilities by their bits. */
function plain(completions: readonly Completion[]) {
  return completions.map(({ tokens, logProbs, drawnLogProbs, ...rest }) => ({
    ...rest,
    tokens: [...tokens],
    logProbs: [...bits(logProbs)],
    drawnLogProbs: [...bits(drawnLogProbs)],
  }))
}

test('the same seed draws the same tokens, however many run at once and whatever stands beside them', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async policy => {
    const options = { maxTokens: 20, samplesPerPrompt: 3, seed: 11 }
    const reference = plain(await policy.sample(prompts, options))
    t.is(reference.length, prompts.length * 3)
    t.deepEqual(
      reference.map(c => [c.promptIndex, c.sampleIndex]),
      prompts.flatMap((_, p) => [0, 1, 2].map(s => [p, s])),
    )
    for (const maxConcurrent of [1, 2, 3, 4, 7, 18]) {
      t.deepEqual(plain(await policy.sample(prompts, { ...options, maxConcurrent })), reference)
    }
    const alone = await policy.sample([prompts[3] as Int32Array], { ...options, promptNumbers: [3] })
    t.deepEqual(
      plain(alone),
      reference.slice(9, 12).map(c => ({ ...c, promptIndex: 0 })),
    )
    // Samples of a prompt, prompts, seeds and steps draw different numbers.
    const texts = new Set(reference.map(c => c.tokens.join()))
    t.is(texts.size, reference.length)
    for (const change of [{ seed: 12 }, { step: 1 }, { promptNumbers: [6, 7, 8, 9, 10, 11] }]) {
      t.notDeepEqual(plain(await policy.sample(prompts, { ...options, ...change })), reference)
    }
  })
  await withPolicy(tinyPolicies.qwen2, { threads: 1 }, async policy => {
    const [again] = await policy.sample(prompts, { maxTokens: 20, samplesPerPrompt: 3, seed: 11 })
    await withPolicy(tinyPolicies.qwen2, threads, async two => {
      const [first] = await two.sample(prompts, { maxTokens: 20, samplesPerPrompt: 3, seed: 11 })
      t.deepEqual(plain([again as Completion]), plain([first as Completion]))
    })
  })
})

test('some samples of a prompt are those among all of them, and each is told of when it ends', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async policy => {
    const options = { maxTokens: 12, seed: 5 }
    const all = plain(await policy.sample(prompts, { ...options, samplesPerPrompt: 4 }))
    const sampleNumbers = [[1], [0, 3], [2], [3, 1, 0], [2, 3], [0]]
    const told: Completion[] = []
    const progress: SampleProgress[] = []
    const some = await policy.sample(prompts, {
      ...options,
      sampleNumbers,
      maxConcurrent: 3,
      onCompletion: completion => told.push(completion),
      onProgress: at => progress.push(at),
    })
    const expected = all.filter(c => sampleNumbers[c.promptIndex]?.includes(c.sampleIndex))
    t.is(expected.length, 10)
    t.deepEqual(plain(some), expected)
    t.is(progress.at(-1)?.total, 10)
    const order = (a: Completion, b: Completion) =>
      a.promptIndex - b.promptIndex || a.sampleIndex - b.sampleIndex
    t.deepEqual(plain(told.toSorted(order)), expected)
    const wrong: [given: unknown, message: RegExp][] = [
      [[[0]], /one list per prompt \(6\)/],
      [[[], [0], [0], [0], [0], [0]], /sampleNumbers\[0\]: expected different numbers, at least one/],
      [[[0], [1, 1], [0], [0], [0], [0]], /sampleNumbers\[1\]: expected different numbers/],
      [[[0], [-1], [0], [0], [0], [0]], /sampleNumbers\[1\]\[0\]/],
    ]
    for (const [given, message] of wrong) {
      await t.throwsAsync(policy.sample(prompts, { sampleNumbers: given as number[][] }), { message })
    }
    await t.throwsAsync(policy.sample(prompts, { onCompletion: 1 as never }), { message: /onCompletion/ })
  })
})

/** The most probable next token by policy.logProbs of every candidate. */
async function scores(policy: Policy, prompt: Int32Array): Promise<Float32Array> {
  const { vocabSize } = policy.config
  const candidates = Array.from({ length: vocabSize }, (_, token) => ({
    tokens: Int32Array.of(...prompt, token),
    promptLength: prompt.length,
  }))
  return Float32Array.from(await policy.logProbs(candidates), ({ logProbs }) => logProbs[0] as number)
}

test('greedy takes the most probable token; its log-probability is that of temperature 1', async t => {
  await withPolicy(tinyPolicies.llama, threads, async policy => {
    const prompt = prompts[0] as Int32Array
    const options = { temperature: 0, maxTokens: 3, stopTokens: [] }
    const [greedy] = await policy.sample([prompt], options)
    let context = prompt
    for (const [i, token] of greedy!.tokens.entries()) {
      const all = await scores(policy, context)
      t.is(token, all.indexOf(Math.max(...all)))
      t.is(greedy!.logProbs[i], all[token])
      t.is(greedy!.drawnLogProbs[i], 0)
      context = Int32Array.of(...context, token)
    }
    // Seeds do not matter, and top-k 1 is greedy too.
    t.deepEqual((await policy.sample([prompt], { ...options, seed: 5 }))[0]!.tokens, greedy!.tokens)
    const topOne = { ...options, temperature: 1, topK: 1, seed: 9 }
    t.deepEqual((await policy.sample([prompt], topOne))[0]!.tokens, greedy!.tokens)
  })
})

test('top-k, top-p and min-p draw among the tokens they keep, with renormalised probabilities', async t => {
  await withPolicy(tinyPolicies.qwen3, threads, async policy => {
    const prompt = prompts[2] as Int32Array
    const all = await scores(policy, prompt)
    const order = [...all.keys()].sort((a, b) => all[b]! - all[a]!)
    const mass = (n: number) => order.slice(0, n).reduce((sum, token) => sum + Math.exp(all[token]!), 0)
    const nucleus = order.findIndex((_, i) => mass(i + 1) >= 0.7) + 1
    const floor = order.filter(token => all[token]! >= all[order[0]!]! + Math.log(0.2)).length
    t.true(nucleus > 1 && floor > 1)
    for (const [settings, kept] of [
      [{ topK: 4 }, 4],
      [{ topP: 0.7 }, nucleus],
      [{ minP: 0.2 }, floor],
      [{}, all.length],
    ] as const) {
      const completions = await policy.sample([prompt], { maxTokens: 1, samplesPerPrompt: 200, ...settings })
      const allowed = new Set(order.slice(0, kept))
      for (const { tokens, logProbs, drawnLogProbs } of completions) {
        t.true(allowed.has(tokens[0]!))
        t.is(logProbs[0], all[tokens[0]!])
        t.true(Math.abs(drawnLogProbs[0]! - (logProbs[0]! - Math.log(mass(kept)))) < 1e-5)
      }
      // The most probable token comes as often as it should: within five deviations.
      const share = completions.filter(c => c.tokens[0] === order[0]).length / 200
      const wanted = Math.exp(all[order[0]!]!) / mass(kept)
      t.true(Math.abs(share - wanted) < 5 * Math.sqrt((wanted * (1 - wanted)) / 200) + 1e-9)
    }
  })
})

test('a completion ends at a stop token, at maxTokens, or at the last position of the policy', async t => {
  await withPolicy({ ...tinyPolicies.qwen2, maxPositions: 40 }, threads, async policy => {
    const prompt = randomTokens(30, 1)
    const [free] = await policy.sample([prompt], { maxTokens: 5, stopTokens: [], seed: 2 })
    t.deepEqual([free!.tokens.length, free!.finishReason], [5, 'length'])
    const stop = free!.tokens[2] as number
    const first = free!.tokens.indexOf(stop)
    const [stopped] = await policy.sample([prompt], { maxTokens: 5, stopTokens: [stop], seed: 2 })
    t.deepEqual([...stopped!.tokens], [...free!.tokens.slice(0, first + 1)])
    t.is(stopped!.finishReason, 'stop')
    const [longest] = await policy.sample([prompt], { maxTokens: 100, stopTokens: [], seed: 2 })
    t.deepEqual([longest!.tokens.length, longest!.finishReason], [10, 'length'])
    t.deepEqual([...longest!.tokens.slice(0, 5)], [...free!.tokens])
    t.deepEqual(await policy.sample([], {}), [])
  })
})

test('progress counts up to the end', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async policy => {
    const seen: SampleProgress[] = []
    const onProgress = (progress: SampleProgress) => seen.push({ ...progress })
    const options = { maxTokens: 6, stopTokens: [], samplesPerPrompt: 2, maxConcurrent: 4, onProgress }
    await policy.sample(prompts, options)
    t.deepEqual(seen.at(-1), { completed: 12, total: 12, tokens: 72 })
    t.true(seen.every((p, i) => i === 0 || p.tokens >= seen[i - 1]!.tokens))
    const failing = {
      onProgress: () => {
        throw new Error('mine')
      },
    }
    await t.throwsAsync(policy.sample(prompts, failing), { message: 'mine' })
  })
})

/** A slow sampling that is aborted when some of its completions are done. */
async function aborted(policy: Policy, options: SampleOptions) {
  const controller = new AbortController()
  let at = 0
  const onProgress = ({ tokens }: SampleProgress) => {
    if (tokens < 40 || controller.signal.aborted) return
    at = performance.now()
    controller.abort(new Error('enough'))
  }
  const all = { maxTokens: 180, stopTokens: [], samplesPerPrompt: 8, seed: 4, ...options }
  const sampling = policy.sample(prompts.slice(0, 3), { ...all, signal: controller.signal, onProgress })
  try {
    return { completions: await sampling, seconds: (performance.now() - at) / 1000 }
  } catch (error) {
    return { error, seconds: (performance.now() - at) / 1000 }
  }
}

test('an abort ends sampling within a second, with an error or with what is there', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async (policy, device) => {
    const before = device.info()
    const { error, seconds } = await aborted(policy, {})
    t.true(AbortedError.isInstance(error))
    t.is(((error as Error).cause as Error).message, 'enough')
    t.true(seconds < 1, `${seconds} s`)

    const { completions, seconds: later } = await aborted(policy, { returnPartial: true })
    t.true(later < 1, `${later} s`)
    t.is(completions!.length, 24)
    const tokens = completions!.reduce((sum, c) => sum + c.tokens.length, 0)
    t.true(tokens >= 40 && tokens < 24 * 180)
    t.true(completions!.every(c => c.finishReason === 'aborted' && c.tokens.length === c.logProbs.length))
    const full = await policy.sample(prompts.slice(0, 3), {
      maxTokens: 8,
      stopTokens: [],
      samplesPerPrompt: 8,
      seed: 4,
    })
    for (const [i, { tokens: drawn }] of completions!.entries()) {
      t.deepEqual([...drawn.slice(0, 8)], [...full[i]!.tokens.slice(0, drawn.length)])
    }

    const already = AbortSignal.abort()
    await t.throwsAsync(policy.sample(prompts, { signal: already }), { instanceOf: AbortedError })
    const nothing = await policy.sample(prompts, { signal: already, returnPartial: true })
    t.true(nothing.every(c => c.tokens.length === 0))
    await device.synchronize()
    const after = device.info()
    t.is(after.liveTensors - before.liveTensors, 2) // the rope table, made by the first call
    const table = 256 * 6 * 2 * 4
    t.true(after.liveBytes - before.liveBytes <= 1.2 * table)
  })
})

test('sampling gives all its memory back', async t => {
  await withPolicy(tinyPolicies.llama, threads, async (policy, device) => {
    const sample = () => policy.sample(prompts, { maxTokens: 30, samplesPerPrompt: 2, maxConcurrent: 5 })
    await sample()
    const { liveBytes, liveTensors } = device.info()
    for (let i = 0; i < 3; i++) await sample()
    t.deepEqual([device.info().liveBytes, device.info().liveTensors], [liveBytes, liveTensors])
  })
})

test('logits that are not finite end sampling with the prompt and the position, and nothing is lost', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async (policy, device) => {
    await policy.sample(prompts, { maxTokens: 1 })
    const { liveTensors } = device.info()
    const values = await device.readFloat32(policy.model.values)
    const broken = values.slice()
    const norm = policy.model.layout.byName.get('model.norm.weight')!
    broken.fill(Number.NaN, norm.offset, norm.offset + 1)
    device.write(policy.model.values, broken)
    const error = await t.throwsAsync(policy.sample(prompts, { maxTokens: 9 }), {
      instanceOf: NonFiniteError,
    })
    t.deepEqual((error as NonFiniteError).details, { prompt: 0, position: 0 })
    await device.synchronize()
    t.is(device.info().liveTensors, liveTensors)
    device.write(policy.model.values, values)
    t.is((await policy.sample(prompts, { maxTokens: 2 })).length, prompts.length)
  })
})

test('a policy that is read is not trained, and one that is trained is not read', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async policy => {
    await using trainer = await Trainer.create(policy)
    const tokens = prompts[1] as Int32Array
    const groups = [{ members: [{ tokens, promptLength: 8, offPolicy: true, advantage: 1 }] }]
    const sampling = policy.sample(prompts, { maxTokens: 5 })
    await t.throwsAsync(trainer.trainStep(groups), { instanceOf: BusyError })
    const [, scored] = await Promise.all([sampling, policy.logProbs([{ tokens, promptLength: 8 }])])
    t.is(scored.length, 1)
    const training = trainer.trainStep(groups)
    await t.throwsAsync(policy.sample(prompts), { instanceOf: BusyError })
    await t.throwsAsync(trainer.trainStep(groups), { instanceOf: BusyError })
    await training
    t.is(trainer.state.updates, 1)
    await t.notThrowsAsync(policy.sample(prompts, { maxTokens: 1 }))
  })
})

test('wrong arguments are named before anything is enqueued', async t => {
  await withPolicy(tinyPolicies.qwen2, threads, async (policy, device) => {
    const { enqueuedOps, liveTensors } = device.info()
    const good = [Int32Array.of(5, 6)]
    const cases: [readonly unknown[], object, object, RegExp][] = [
      [[Int32Array.of(5, 97)], {}, RangeError, /prompts\[0\]\[1\].*96.*97/],
      [[Int32Array.of(-1)], {}, RangeError, /prompts\[0\]\[0\].*-1/],
      [[new Int32Array(0)], {}, RangeError, /prompts\[0\].*0/],
      [[randomTokens(256, 1)], {}, RangeError, /prompts\[0\].*255/],
      [[[5, 6]], {}, TypeError, /prompts\[0\]/],
      [good, { maxtokens: 3 }, ConfigError, /maxTokens/],
      [good, { temprature: 3 }, ConfigError, /temperature/],
      [good, { maxTokens: 0 }, RangeError, /maxTokens/],
      [good, { maxTokens: 2.5 }, RangeError, /maxTokens/],
      [good, { temperature: Number.NaN }, RangeError, /temperature/],
      [good, { temperature: -1 }, RangeError, /temperature/],
      [good, { topK: -1 }, RangeError, /topK/],
      [good, { topP: 0 }, RangeError, /topP/],
      [good, { minP: 1.5 }, RangeError, /minP/],
      [good, { seed: -1 }, RangeError, /seed/],
      [good, { seed: 2 ** 53 }, RangeError, /seed/],
      [good, { stopTokens: [97] }, RangeError, /stopTokens\[0\]/],
      [good, { promptNumbers: [1, 2] }, RangeError, /promptNumbers/],
      [good, { samplesPerPrompt: 1.5 }, RangeError, /samplesPerPrompt/],
      [good, { maxConcurrent: 0 }, RangeError, /maxConcurrent/],
      [good, { signal: {} }, TypeError, /signal/],
      [good, { onProgress: 1 }, TypeError, /onProgress/],
      [good, { returnPartial: 'yes' }, TypeError, /returnPartial/],
    ]
    for (const [given, options, instanceOf, message] of cases) {
      await t.throwsAsync(policy.sample(given as Int32Array[], options as SampleOptions), {
        instanceOf: instanceOf as ErrorConstructor,
        message,
      })
    }
    await t.throwsAsync(policy.logProbs([{ tokens: Int32Array.of(1, 99), promptLength: 1 }]), {
      instanceOf: RangeError,
      message: /sequences\[0\]\.tokens\[1\].*96.*99/,
    })
    for (const promptLength of [0, 3, -1, 1.5, Number.NaN, '1']) {
      await t.throwsAsync(
        policy.logProbs([{ tokens: Int32Array.of(1, 2), promptLength: promptLength as number }]),
        {
          instanceOf: RangeError,
          message: /sequences\[0\]\.promptLength/,
        },
      )
    }
    t.deepEqual([device.info().enqueuedOps, device.info().liveTensors], [enqueuedOps, liveTensors])
  })
})
