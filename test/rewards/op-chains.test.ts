import test from 'ava'
import { stepByStep, trainingSet } from '../../lib/data/op-chains/index.js'
import { judgeOpChains, opChainsReward } from '../../lib/rewards/op-chains.js'
import { type Reward, type RewardInput, scoreCompletions } from '../../lib/rewards/reward.js'

test('each rule has its reason', t => {
  const cases: [string, 0 | 1, string][] = [
    ['<r7835;i8835;z8853;i9853;>9853$', 1, 'right'],
    ['<>9853$', 1, 'right'],
    ['<anything 0000;>9853$', 1, 'right'],
    ['9853$', 0, 'no opening'],
    [' <>9853$', 0, 'no opening'],
    ['', 0, 'no opening'],
    ['<>9853', 0, 'no end'],
    ['<', 0, 'no end'],
    ['<9853$', 0, 'no closing'],
    ['<$', 0, 'no closing'],
    ['<>9854$', 0, 'wrong answer'],
    ['<>$', 0, 'wrong answer'],
  ]
  for (const [completion, reward, reason] of cases)
    t.deepEqual(judgeOpChains(completion, '9853'), { reward, reason })
})

test('tricks get nothing', t => {
  const junk = [
    '<>9853$$',
    '<>9853$9853$',
    '<>0000>9853$',
    '<>>9853$',
    '<> 9853$',
    '<>09853$',
    '<>9853 $',
    '<>9853,9854$',
    '<>+9853$',
    '<>９８５３$',
    '<>9853\n$',
    '<>9853\u0000$',
    '<>5387rizi=9853$',
    '><9853$',
  ]
  for (const completion of junk) t.is(judgeOpChains(completion, '9853').reward, 0, JSON.stringify(completion))
})

function inputOf(prompt: string, completion: string, answer: string | null): RewardInput<null> {
  return { promptIndex: 0, prompt, completion, tokens: new Int32Array(0), answer, row: null }
}

test('every demonstration and every step-by-step response is right; with a prompt alone the answer is worked out', t => {
  for (const item of trainingSet({ seed: 0 })) {
    t.is(opChainsReward(inputOf(item.prompt, item.demonstration, item.answer)).reward, 1)
    const clean = stepByStep(item.prompt.slice(0, 4), item.prompt.slice(4, -1))
    t.is(opChainsReward(inputOf(item.prompt, clean, null)).reward, 1)
  }
})

test('a batch is scored in its order, and what cannot be judged is counted with its reason, never zero', async t => {
  const reward: Reward = async ({ completion }) => {
    await new Promise(resolve => setTimeout(resolve, completion.length))
    if (completion === 'throws') throw new Error('no such file')
    if (completion === 'nan') return Number.NaN
    if (completion === 'null') return null
    if (completion === 'skip') return { reward: null, reason: 'gold is empty' }
    if (completion === 'text') return 'one' as unknown as number
    return completion === 'right' ? { reward: 1, reason: 'right' } : 0
  }
  const completions = ['throws', 'right', 'nan', 'null', 'skip', 'wrong', 'text', 'right']
  const scored = await scoreCompletions(
    reward,
    completions.map(completion => inputOf('', completion, null)),
  )
  t.deepEqual(scored.rewards, [null, 1, null, null, null, 0, null, 1])
  t.is(scored.nullCount, 5)
  t.is(scored.failedCount, 3)
  t.deepEqual(scored.reasonCounts, {
    'threw: no such file': 1,
    right: 2,
    'not a finite number: NaN': 1,
    'no judgement': 1,
    'gold is empty': 1,
    'not a finite number: one': 1,
  })
})

test('an aborted signal ends the scoring, also where the function throws because of it', async t => {
  const controller = new AbortController()
  const waiting = scoreCompletions(
    ({ signal }) =>
      new Promise((_, reject) =>
        signal?.addEventListener('abort', () => reject(new Error('stopped')), { once: true }),
      ),
    [inputOf('', '', null)],
    controller.signal,
  )
  controller.abort(new Error('enough'))
  const error = await t.throwsAsync(waiting)
  t.is(error?.name, 'AbortedError')
  t.is((error?.cause as Error | undefined)?.message, 'enough')
})
