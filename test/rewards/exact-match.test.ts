// Exact match: every reason, and answers that look right without being so.
import test from 'ava'
import { type ExactMatchReason, exactMatchReward, judgeExactMatch } from '../../lib/rewards/exact-match.js'
import { namedRewards } from '../../lib/rewards/named-rewards.js'

const ends = ['<|im_end|>', '<|endoftext|>']
const cases: readonly [prompt: string, completion: string, answer: string, reason: ExactMatchReason][] = [
  ['q', '42<|im_end|>', '42', 'right'],
  ['q', ' 42\n<|endoftext|>', '42 ', 'right'],
  ['q', '42', '42', 'no end'],
  ['q', '42<|im_end|>!', '42', 'no end'],
  ['q\n<think>\n', 'Well.\n</think>\n42<|im_end|>', '42', 'right'],
  ['q\n<think>\n', 'Well.\n</think>\nIt is \\boxed{\\frac{1}{2}}.<|im_end|>', '\\frac{1}{2}', 'right'],
  ['q\n<think>\n', '42<|im_end|>', '42', 'no closing'],
  ['q\n<think>\n', '\\boxed{42}\n</think>\n<|im_end|>', '42', 'no answer'],
  ['q\n<think>\n', '\\boxed{42}\n</think>\n41<|im_end|>', '42', 'wrong answer'],
  ['q', '<think>never closed \\boxed{42}<|im_end|>', '42', 'no closing'],
  ['q', '<think>x</think>\\boxed{41} \\boxed{42}<|im_end|>', '42', 'right'],
  ['q', '<think>x</think>\\boxed{42} \\boxed{41}<|im_end|>', '42', 'wrong answer'],
  ['q', '\\boxed{42<|im_end|>', '42', 'no answer'],
  ['q', '42.0<|im_end|>', '42', 'wrong answer'],
  ['q', 'c<|im_end|>', 'C', 'wrong answer'],
  ['q', '<|im_end|>', '', 'no answer'],
]

for (const [prompt, completion, answer, reason] of cases) {
  test(`${reason}: ${JSON.stringify(completion)} after ${JSON.stringify(prompt)}`, async t => {
    t.is(judgeExactMatch(prompt, completion, answer, ends), reason)
    const row = { prompt, answer }
    const input = { promptIndex: 0, prompt, completion, tokens: new Int32Array(0), answer, row }
    const expected = { reward: reason === 'right' ? 1 : 0, reason }
    t.deepEqual(await exactMatchReward({ endTexts: ends })(input), expected)
    t.deepEqual(await namedRewards.exactMatch.create({ endTexts: ends })(input), expected)
  })
}

test('answers that nothing can equal are not readable', t => {
  t.deepEqual(
    ['42', ' x ', '', ' \n'].map(answer => namedRewards.exactMatch.isReadable(answer)),
    [true, true, false, false],
  )
})
