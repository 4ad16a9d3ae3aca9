// The reward of mathematical answers: 1 or 0 with a reason, null where the row cannot be judged.
import { getEventListeners } from 'node:events'
import test from 'ava'
import {
  AbortedError,
  mathReward,
  type RewardInput,
  scoreCompletions,
  verifyAnswer,
} from '../../lib/index.js'

function inputOf(completion: string, answer: string | null): RewardInput {
  return { promptIndex: 0, prompt: 'How many?', completion, tokens: new Int32Array(0), answer, row: null }
}

test('a batch is scored, strictly unless asked otherwise, and the reasons are counted', async t => {
  await using reward = mathReward()
  const inputs = [
    inputOf('<think>5?</think>\\boxed{5}<|endoftext|>', '5'),
    inputOf('\\boxed{6}', '5'),
    inputOf('5', '5'),
    inputOf('<think>\\boxed{5}</think>', '5'),
    inputOf('\\boxed{5}', null),
    inputOf('\\boxed{5}', ' '),
    inputOf('\\boxed{1/0}', '1/0'),
    inputOf('', '5'),
  ]
  const scored = await scoreCompletions(reward, inputs)
  t.deepEqual(scored.rewards, [1, 0, 0, 0, null, null, null, 0])
  t.is(scored.nullCount, 3)
  t.is(scored.failedCount, 0)
  t.deepEqual(scored.reasonCounts, {
    equal: 1,
    different: 1,
    'no marked answer': 3,
    'no reference answer': 2,
    'reference unreadable': 1,
  })
  t.is(reward.statistics.checked, 6)

  await using evaluation = mathReward({ strict: false })
  t.deepEqual((await scoreCompletions(evaluation, inputs)).rewards, [1, 0, 1, 1, null, null, 1, 0])
})

test('a batch that can be aborted leaves no listeners behind and warns of none', async t => {
  const warnings: string[] = []
  const note = (warning: Error) => warnings.push(warning.message)
  process.on('warning', note)
  t.teardown(() => process.off('warning', note))
  const stop = new AbortController()
  await using reward = mathReward()
  const inputs = Array.from({ length: 40 }, () => inputOf('\\boxed{5}', '5'))
  await scoreCompletions(reward, inputs, stop.signal)
  await new Promise(resolve => setImmediate(resolve))
  t.deepEqual(warnings, [])
  t.is(getEventListeners(stop.signal, 'abort').length, 0)
  // The reward hears of the abort, with its reason, through the signal that it was given.
  const heard: unknown[] = []
  const scoring = scoreCompletions(
    ({ signal }) =>
      new Promise<number>((_, reject) => {
        signal?.addEventListener('abort', () => {
          heard.push(signal.reason)
          reject(new Error('stopped'))
        })
      }),
    inputs,
    stop.signal,
  )
  stop.abort('enough')
  await t.throwsAsync(scoring, { instanceOf: AbortedError })
  t.deepEqual(heard, Array(40).fill('enough'))
})

test('thinking that the prompt opened has to be closed, and an end token is no answer', async t => {
  await using reward = mathReward({ endTexts: ['<end>'] })
  const judge = async (prompt: string, completion: string) =>
    (await reward({ ...inputOf(completion, '5'), prompt })).reason
  t.is(await judge('Q<think>\n', 'so \\boxed{5}'), 'no thinking closed')
  t.is(await judge('Q<think>\n', 'so</think>\\boxed{5}<end>'), 'equal')
  t.is(await judge('Q<think>\n', ' </think>\\boxed{5}'), 'empty thinking')
  t.is(await judge('Q', 'so \\boxed{5}'), 'equal')
  t.is(await judge('Q', 'answer: 5<end>'), 'equal')
  await using loose = mathReward({ strict: false })
  t.is((await loose({ ...inputOf('so \\boxed{5}', '5'), prompt: 'Q<think>\n' })).reward, 1)
})

test('what the reward says is what verifyAnswer says', async t => {
  await using reward = mathReward({ strict: false, workers: 2 })
  for (const [gold, prediction] of [
    ['\\frac{1}{2}', 'so $0.5$'],
    ['x=5', '$5$'],
    ['2x=5', '$5$'],
  ] as const) {
    const { correct, reason } = verifyAnswer(gold, prediction)
    t.deepEqual(await reward(inputOf(prediction, gold)), { reward: correct ? 1 : 0, reason: reason as never })
  }
})

test('an abort ends scoring', async t => {
  await using reward = mathReward()
  await t.throwsAsync(scoreCompletions(reward, [inputOf('\\boxed{5}', '5')], AbortSignal.abort()), {
    message: /aborted/,
  })
})

test('wrong options are named', t => {
  t.throws(() => mathReward({ strict: 1 as never }), { instanceOf: TypeError, message: /strict/ })
  t.throws(() => mathReward({ stricct: true } as never), { message: /did you mean "strict"/ })
})
