// The replay buffer of exgrpo: what enters and leaves it, which prompts and successes are drawn, and that its records are
// all of it.
import test from 'ava'
import type { RecallContext } from '../../lib/index.js'
import type { RatedMember } from '../../lib/methods/method.js'
import { ReplayBuffer, type ReplayBufferSettings } from '../../lib/methods/replay-buffer.js'

const item = (prompt: string) => ({ prompt, answer: prompt.toUpperCase() })

/** A group of samples whose only response token is `first`, `first + 1`, ... */
function group(prompt: string, rewards: number[], first = 10) {
  const members = rewards.map(
    (reward, i): RatedMember => ({
      source: 'sample',
      tokens: Int32Array.of(1, 2, first + i),
      promptLength: 2,
      offPolicy: false,
      reward,
      oldLogProbs: Float32Array.of(-0.1 * (i + 1)),
    }),
  )
  return { item: item(prompt), members }
}

const buffer = (changes: Partial<ReplayBufferSettings> = {}) =>
  new ReplayBuffer({ share: 0.5, startSolved: 0.3, capacity: 100, successes: 3, ...changes })

/** Entropy of a token by its id: the smallest id is the surest unless `surest` says another. */
const context = (step = 1, surest?: number): RecallContext => ({
  step,
  seed: 7,
  encode: prompt => Int32Array.of(1, prompt.length),
  logProbs: async sequences =>
    sequences.map(({ tokens }) => ({
      logProbs: Float32Array.of(-1),
      entropy: Float32Array.of(tokens[2] === surest ? 0 : (tokens[2] as number)),
    })),
})

const prompts = (n: number) => Array.from({ length: n }, (_, i) => item(`new${i}`))
const records = (b: ReplayBuffer) => [...b.records()] as { item?: { prompt: string }; solved: number }[]
const inside = (b: ReplayBuffer) => records(b).flatMap(r => r.item?.prompt ?? [])

test('prompts that some samples solve are kept, those that all or none solve are not', t => {
  const b = buffer()
  b.remember([group('some', [1, 0]), group('all', [1, 1]), group('none', [0, 0])])
  t.deepEqual(inside(b), ['some'])
  t.is(records(b)[1]?.solved, 0.5)
  b.remember([group('some', [0, 0])])
  t.deepEqual([inside(b), records(b)[1]?.solved], [['some'], 0])
  b.remember([group('some', [1, 1])])
  t.is(b.size, 0)
  b.remember([
    { item: item('shown'), members: group('x', [1]).members.map(m => ({ ...m, source: 'replay' as const })) },
  ])
  t.is(b.size, 0)
})

test('the oldest prompts and successes leave', t => {
  const b = buffer({ capacity: 2 })
  b.remember([
    group('a', [1, 0]),
    group('b', [1, 0]),
    group('a', [1, 0], 20),
    group('c', [1, 1, 1, 1, 0], 30),
  ])
  t.deepEqual(inside(b), ['a', 'c'])
  const tokens = records(b).map(r =>
    (r as { successes?: { tokens: number[] }[] }).successes?.map(s => s.tokens[0]),
  )
  t.deepEqual(tokens, [undefined, [10, 20], [31, 32, 33]])
})

test('replay begins after a step that was good enough, and takes its share of places', async t => {
  const b = buffer()
  b.remember([group('a', [1, 0, 0, 0]), group('b', [1, 0, 0, 0])])
  const before = await b.recall(prompts(4), context())
  t.true(before.every(({ replay }) => replay === undefined))
  t.deepEqual(
    before.map(({ item: { prompt } }) => prompt),
    ['new0', 'new1', 'new2', 'new3'],
  )
  b.remember([group('a', [1, 0]), group('b', [1, 0])])
  const after = await b.recall(prompts(8), context())
  const replayed = after.filter(({ replay }) => replay !== undefined)
  t.deepEqual(replayed.map(({ item: { prompt } }) => prompt).sort(), ['a', 'b']) // no more than there are
  t.is(after.length, 8)
  t.is((await b.recall(prompts(2), context())).filter(({ replay }) => replay).length, 1)
  // A prompt that the step has anyway is not replayed beside itself.
  const own = [item('a'), item('b')]
  for (let step = 1; step < 9; step++) {
    const names = (await b.recall(own, context(step))).map(({ item: { prompt } }) => prompt)
    t.is(new Set(names).size, 2, names.join())
  }
})

test('of a prompt the success of the lowest entropy under the policy as it is now, with its own log-probabilities', async t => {
  const b = buffer({ share: 1 })
  b.remember([group('a', [1, 1, 1, 0])])
  const of = async (surest?: number) => (await b.recall(prompts(1), context(1, surest)))[0]?.replay
  t.deepEqual(await of(), { tokens: Int32Array.of(10), logProbs: Float32Array.of(-0.1) })
  t.deepEqual(await of(12), { tokens: Int32Array.of(12), logProbs: Float32Array.of(-0.1 * 3) })
})

test('the entropy of a success is the mean over its tokens: a longer one is not less sure', async t => {
  const b = buffer({ share: 1 })
  const { item: of, members } = group('a', [1, 1, 0])
  const [short, long, wrong] = members as [RatedMember, RatedMember, RatedMember]
  const longer = { ...long, tokens: Int32Array.of(1, 2, 5, 5, 5), oldLogProbs: Float32Array.of(-1, -2, -3) }
  b.remember([{ item: of, members: [short, longer, wrong] }])
  const logProbs: RecallContext['logProbs'] = async sequences =>
    sequences.map(({ tokens }) => ({
      logProbs: new Float32Array(tokens.length - 2),
      entropy: new Float32Array(tokens.length - 2).fill(tokens.length > 3 ? 0.5 : 1),
    }))
  const [first] = await b.recall(prompts(1), { ...context(), logProbs })
  t.deepEqual(first?.replay, { tokens: longer.tokens.slice(2), logProbs: longer.oldLogProbs })
})

test('a prefix that the policy continued is no sample, and a mean at the bound begins no replay', async t => {
  const b = buffer({ startSolved: 0.5, share: 1 })
  const { item: of, members } = group('a', [1, 0, 1])
  const [, , last] = members
  b.remember([
    { item: of, members: [...members.slice(0, 2), { ...(last as RatedMember), source: 'prefix' }] },
  ])
  t.is(records(b)[1]?.solved, 0.5)
  t.true((await b.recall(prompts(1), context())).every(({ replay }) => replay === undefined))
  b.remember([group('a', [1, 1, 0])])
  t.true((await b.recall(prompts(1), context())).every(({ replay }) => replay !== undefined))
})

test('prompts are drawn in proportion to exp(-(solved - 1/2)^2 / 2)', async t => {
  const b = buffer({ share: 1 })
  b.remember([group('half', [1, 0]), group('rare', [1, ...new Array<number>(19).fill(0)])])
  b.remember([group('half', [1, 0])])
  let half = 0
  const draws = 20_000
  for (let step = 1; step <= draws; step++) {
    const [first] = await b.recall(prompts(1), context(step))
    if (first?.item.prompt === 'half') half += 1
  }
  const rare = Math.exp(-(0.45 ** 2) / 2)
  const expected = 1 / (1 + rare)
  t.true(Math.abs(half / draws - expected) < 4 * Math.sqrt(0.25 / draws), `${half / draws} ${expected}`)
  t.true(expected > 0.52)
})

test('records are all of it: what is restored from their JSON draws the same', async t => {
  const b = buffer()
  b.remember(['a', 'b', 'c', 'd'].map((name, i) => group(name, [1, 0, i % 2], 100 * i)))
  const copy = buffer()
  copy.restore(JSON.parse(JSON.stringify([...b.records()])) as unknown[])
  t.deepEqual([...copy.records()], [...b.records()])
  for (let step = 1; step < 5; step++) {
    t.deepEqual(await copy.recall(prompts(6), context(step)), await b.recall(prompts(6), context(step)))
  }
  const wrong: [unknown[], RegExp][] = [
    [[], /records\[0\]/],
    [[{}, { item: { prompt: 1 } }], /records\[1\]\.item\.prompt/],
    [[{}, { item: item('a'), solved: 2 }], /solved/],
    [[{}, { item: item('a'), solved: 0.5, successes: [{ tokens: [1], logProbs: [] }] }], /as many tokens/],
  ]
  for (const [given, message] of wrong) t.throws(() => buffer().restore(given), { message })
})
