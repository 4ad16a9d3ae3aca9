// Strict verdicts: nothing of the junk set is right, everything of the true variants is, and what Math-Verify accepts
// by mistake is refused.
import test from 'ava'
import { answerPart } from '../../../lib/rewards/verify/strict-answer.js'
import { isReadableReference, verifyAnswer } from '../../../lib/rewards/verify/verify-answer.js'

const question =
  'Find the number of positive divisors of 5040. If the answer is $N$, put 60 or whatever it is in \\boxed{}.'
const strict = (gold: string, prediction: string) => verifyAnswer(gold, prediction, { strict: true })

// For the reference 60, each with the reason that refuses it.
const junk: readonly (readonly [string, string])[] = [
  ['<think>It is \\boxed{60}.', 'no thinking closed'],
  ['<think>It is \\boxed{60}.</think> I do not know.', 'no marked answer'],
  ['It is \\boxed{60}.</think>', 'no marked answer'],
  ['<think></think>\\boxed{60}', 'empty thinking'],
  ['<think>\n \t\n</think>\n\\boxed{60}', 'empty thinking'],
  ['</think>\\boxed{60}', 'empty thinking'],
  ['<think><think></think>\\boxed{60}', 'empty thinking'],
  ['<think></think></think>\\boxed{60}', 'empty thinking'],
  ['<think>a</think><think>\\boxed{60}', 'no thinking closed'],
  ['\\boxed{59} \\boxed{60}', 'several answers'],
  ['\\boxed{60} \\boxed{59}', 'several answers'],
  ['\\boxed{58}, \\boxed{59}, \\boxed{60}', 'several answers'],
  [Array.from({ length: 200 }, (_, i) => `\\boxed{${i}}`).join(' '), 'several answers'],
  [Array.from({ length: 200 }, (_, i) => `\\fbox{${i}}`).join(' '), 'several answers'],
  [question, 'no answer'],
  [`${question}\n${question}`, 'no answer'],
  [`<think>${question}</think>${question}`, 'no answer'],
  ['58, 59, 60', 'no marked answer'],
  ['60', 'no marked answer'],
  ['The answer might be 60', 'no marked answer'],
  ['$60$', 'no marked answer'],
  ['', 'no marked answer'],
  [`\\boxed{${'9'.repeat(40_000)}}`, 'answer unreadable'],
  [`\\boxed{${'9'.repeat(100_000)}}`, 'no marked answer'],
  [`\\boxed{${'6'.repeat(2_900)}}`, 'different'],
  ['\\boxed{9^{9^{9^9}}}', 'different'],
  ['\\boxed{10^{10^{10}}}', 'different'],
  ['\\boxed{1E999999999}', 'answer unreadable'],
  ['\\boxed{６０}', 'answer unreadable'],
  ['\\boxed{٦٠}', 'answer unreadable'],
  ['\\boxed{6O}', 'different'],
  ['\\boxed{60\\text{ or }61}', 'different'],
  ['\\boxed{60\\text{ or maybe 61}}', 'different'],
  ['\\boxed{60 \\text{and} 61}', 'different'],
  ['\\boxed{\\text{59 or 60}}', 'different'],
  ['\\boxed{59, 60}', 'different'],
  ['\\boxed{60, 59}', 'different'],
  ['\\boxed{x \\in \\{59, 60\\}}', 'different'],
  ['\\boxed{59 = 60}', 'different'],
  ['\\boxed{2x = 60}', 'different'],
  ['\\boxed{x \\le 60}', 'different'],
  ['\\boxed{59 \\pm 1}', 'different'],
  ['\\boxed{[0, 60]}', 'different'],
  ['\\boxed{30 30}', 'answer unreadable'],
  ['\\boxed{2(58)}', 'different'],
  ['\\boxed{\\hbar_{} 60}', 'answer unreadable'],
  ['\\boxed{}', 'no answer'],
  ['\\boxed{\\boxed{}}', 'no answer'],
  ['\\boxed{N}', 'different'],
  ['\\boxed{60', 'no marked answer'],
  ['\\boxed{\\infty}', 'different'],
  ['\\boxed{\\frac{60}{0}}', 'different'],
]

test(`none of the junk set of ${junk.length} is right, and each has its reason`, t => {
  for (const [prediction, reason] of junk)
    t.deepEqual(
      strict('60', prediction),
      { correct: false, reason } as never,
      JSON.stringify(prediction.slice(0, 80)),
    )
})

const thought = '<think>5040 is $2^4 \\cdot 3^2 \\cdot 5 \\cdot 7$; maybe \\boxed{61}? No.</think>\n'

test('all true variants are right', t => {
  const variants: [string, string][] = [
    ...[
      '60',
      '60.0',
      '60.',
      '+60',
      '060',
      '\\text{60}',
      '60\\text{ divisors}',
      '60 cm',
      '60^\\circ',
      '\\$60',
      ' 60 ',
      'N = 60',
      'd(n) = 60',
      '2^2 \\cdot 15',
      '\\frac{120}{2}',
      '6 \\times 10',
      '6 \\times 10^1',
      '6e1',
      '\\displaystyle 60',
      '\\mathbf{60}',
      '{60}',
      '(60)',
      '120/2',
      '\\sqrt{3600}',
      '5!/2',
    ].map((content): [string, string] => ['60', `${thought}So \\boxed{${content}}.`]),
    ['60', '\\boxed{60}'],
    ['60', '$$\\boxed{60}$$'],
    ['60', 'We get \\boxed{60}, that is, \\boxed{60}.'],
    ['60', '\\fbox{60}'],
    ['60', `${thought}The final answer is $60$. I hope it is correct.`],
    ['60', `${thought}**Final Answer:** The final answer is 60`],
    ['60', `${thought}Answer: 60`],
    ['60', 'thinking, which the template opened</think>\\boxed{60}'],
    ['\\frac{1}{2}', '\\boxed{0.5}'],
    ['\\frac{1}{3}', '\\boxed{0.333333}'],
    ['3\\frac{1}{2}', '\\boxed{7/2}'],
    ['(1,2)', '\\boxed{\\left(1, 2\\right)}'],
    ['x^2-1', '\\boxed{(x-1)(x+1)}'],
    ['6.62e-34', '\\boxed{6.62 \\times 10^{-34}}'],
    ['50\\%', '\\boxed{\\frac{1}{2}}'],
    ['x=5', '\\boxed{5}'],
    ['1 < x < 2', '\\boxed{(1,2)}'],
  ]
  for (const [gold, prediction] of variants)
    t.true(strict(gold, prediction).correct, `${gold} | ${prediction}: ${strict(gold, prediction).reason}`)
})

test("Math-Verify's false accepts are refused, and they are its", t => {
  const mistakes: [string, string, string][] = [
    ['a number inside what cannot be read', '\\hbar \\omega(v+1 / 2)-E_{0}', '\\boxed{2}'],
    ["Euler's number in scientific notation", '3.61e-10', '\\boxed{3.61 e - 10}'],
    ['integers side by side', '8', '\\boxed{5 3}'],
    ['an integer before a bracket', '5', '\\boxed{2(3)}'],
    ['tiny powers', '2^{-99}', '\\boxed{2^{-98}}'],
    ['tiny products', '6.6\\cdot10^{-34}', '\\boxed{1.1\\cdot10^{-27}}'],
    ['tiny decimals', '0.0000001', '\\boxed{0.0000002}'],
    ['a right side', '5', '\\boxed{2x=5}'],
    ['text that says more', '12', '\\boxed{12\\text{ or maybe 13}}'],
    ['text of an unreadable reference', '1/0', '\\boxed{1/0}'],
    ['a box in the thinking', '12', '<think>\\boxed{12}</think>'],
  ]
  for (const [name, gold, prediction] of mistakes) {
    t.true(verifyAnswer(gold, prediction).correct, name)
    t.false(strict(gold, prediction).correct, name)
  }
})

test('a reference that cannot be read is known as such', t => {
  for (const gold of ['5', '$\\frac{1}{2}$', '\\text{(B)}', 'x=5', '(1,2)\\cup(3,4)'])
    t.true(isReadableReference(gold), gold)
  for (const gold of ['', ' ', '1/0', '\\foo', '-1./3', '{']) t.false(isReadableReference(gold), gold)
})

test('the part behind the thinking', t => {
  t.deepEqual(answerPart('a<think>b</think>c'), { part: 'c' })
  t.deepEqual(answerPart('c'), { part: 'c' })
  t.deepEqual(answerPart('<think>b</think>c</think>d'), { part: 'd' })
})

test('wrong arguments are named', t => {
  t.throws(() => verifyAnswer(5 as never, ''), {
    instanceOf: TypeError,
    message: /gold: expected a string, got 5/,
  })
  t.throws(() => verifyAnswer('', null as never), { instanceOf: TypeError })
  t.throws(() => verifyAnswer('', '', { Strict: true } as never), { message: /did you mean "strict"/ })
})
