// Where answers are found and what they become: the first string that is read, before it is parsed.
import test from 'ava'
import { boxedContent, completeBoxes } from '../../../lib/rewards/verify/boxes.js'
import { normalizeLatex } from '../../../lib/rewards/verify/normalize.js'
import { readAnswer } from '../../../lib/rewards/verify/read-answer.js'

test('the text that is read', t => {
  const cases: [string, string][] = [
    ['', ''],
    ['no number here', ''],
    ['the 7 of us', '7'],
    ['$1$ and $2$', '1 and 2'],
    ['$1$, and $2$', '2'],
    ['$a$ or $b$, $c$', 'a and b and c'],
    ['\\(x\\) then \\[y\\]', 'y'],
    ['$$\nx\n$$', 'x'],
    ['$x\ny$', ''],
    ['costs $5 and $6', '6'],
    ['5$x$', '5'],
    ['\\$5$', ''],
    [' [ 3 ] ', '3'],
    ['[3]', ''],
    ['-\\frac{1}{2} it is', '-\\frac{1}{2}'],
    ['so 1,234.5 in all', '1234.5'],
    ['so 12,34 in all', '12.34'],
    ['007', '7'],
    ['3*(4+5) is it', '3*(4+5)'],
    ['10 - 4', '10 - 4'],
    ['answer: 12 = 3', '3'],
    ['answer: x = 5, y', '5'],
    ['final answer is: $x$. I hope $y$', 'x'],
    ['\\boxed{1} $2$', '1'],
    ['\\boxed{1}, \\boxed{2}', '1,2'],
  ]
  for (const [text, expected] of cases) t.is(readAnswer(text, { strict: false }).text, expected, text)
})

test('boxes', t => {
  t.is(boxedContent('a \\boxed{1} b \\boxed{2}', false), '1,2')
  t.is(boxedContent('\\boxed{1} far away, with nothing that is a separating mark \\boxed{2}', true), '1,2')
  t.is(boxedContent(`\\boxed{1} ${'x'.repeat(70)} \\boxed{2}`, true), '2')
  // Less than 10 characters, or less than 70 with a separator.
  for (const [between, content] of [
    ['x'.repeat(9), '1,2'],
    ['x'.repeat(10), '2'],
    [`,${'x'.repeat(68)}`, '1,2'],
    [`,${'x'.repeat(69)}`, '2'],
  ] as const) {
    t.is(boxedContent(`\\boxed{1}${between}\\boxed{2}`, true), content)
  }
  t.is(boxedContent('\\boxed{\\frac{1}{2}}', true), '\\frac{1}{2}')
  t.is(boxedContent('\\boxed 5', true), '5')
  t.is(boxedContent('nothing', true), 'nothing')
  t.deepEqual(completeBoxes('\\boxed{1} \\boxed{\\boxed{2}} \\fbox{3} \\boxed{4'), ['1', '\\boxed{2}', '3'])
})

test('spellings', t => {
  const cases: [string, string][] = [
    ['\\left( 1, 2 \\right)', '( 1, 2 )'],
    ['\\dfrac12', '\\frac{1}{2}'],
    ['\\sqrt3', '\\sqrt{3}'],
    ['x^(2)', 'x^{2}'],
    ['5 \\text{ cm}', '5'],
    ['5 \\text{ cm}^2', '5'],
    ['5 miles', '5'],
    ['\\text{cm}', '\\text{cm}'],
    ['1 \\text{ and } 2', '1, 2'],
    ['28 percent', '28\\%'],
    ['.5', '\\frac{1}{2}'],
    ['.7', '0.7'],
    ['0.5', '\\frac{1}{2}'],
    ['3/4', '\\frac{3}{4}'],
    ['{1{,}234}', '{1,234}'],
    ['\\mathrm{d}x', 'dx'],
    ['(n)_{k}', '\\frac{(n)!}{((n)-(k))!}'],
  ]
  for (const [text, expected] of cases) t.is(normalizeLatex(text, false), expected, text)
})
