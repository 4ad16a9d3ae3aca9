// Properties of verdicts over generated answers: nothing throws, answers equal themselves and other ways to write them.
import test from 'ava'
import fc from 'fast-check'
import { verifyAnswer } from '../../../lib/rewards/verify/verify-answer.js'

const accepts = (gold: string, answer: string) => verifyAnswer(gold, `\\boxed{${answer}}`).correct
const runs = { numRuns: 200, seed: 1 }

// Expressions as text; negative numbers and sums in brackets, so that no two of them can merge.
const integer = fc.integer({ min: -50, max: 50 }).map(value => (value < 0 ? `(${value})` : `${value}`))
const symbol = fc.constantFrom('x', 'y', 'n', '\\alpha', 'x_1')
const { expression } = fc.letrec<{ expression: string }>(tie => ({
  expression: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    integer,
    symbol,
    fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `(${a}+${b})`),
    fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `(${a}-${b})`),
    fc.tuple(tie('expression'), tie('expression')).map(([a, b]) => `${a} \\cdot ${b}`),
    fc.tuple(tie('expression'), fc.integer({ min: 1, max: 9 })).map(([a, b]) => `\\frac{${a}}{${b}}`),
    fc.tuple(tie('expression'), fc.integer({ min: 2, max: 3 })).map(([a, b]) => `{(${a})}^{${b}}`),
  ),
}))

const pieces = fc.constantFrom(
  ...'\\frac \\sqrt \\boxed { } [ ] ( ) $ $$ \\[ \\] \\( \\) ^ _ , ; = < > \\le + - * / | ! % \\% 1 23 4.5 x y e i E \\pi \\infty \\pm \\cup \\in \\text{a} \\left( \\right) \\begin{pmatrix} \\end{pmatrix} & \\\\ \\sin \\log \\sum answer: final is and or <think> </think>'.split(
    ' ',
  ),
  ' ',
  '\n',
  'I hope',
)
const noise = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.array(pieces, { maxLength: 40 }).map(parts => parts.join('')),
)

test('no two texts make it throw, and each verdict is the same twice', t => {
  fc.assert(
    fc.property(noise, noise, fc.boolean(), (gold, prediction, strict) => {
      const verdict = verifyAnswer(gold, prediction, { strict })
      t.deepEqual(verifyAnswer(gold, prediction, { strict }), verdict)
      t.is(typeof verdict.correct, 'boolean')
    }),
    { numRuns: 1500, seed: 1 },
  )
})

test('an expression equals itself, in both modes', t => {
  fc.assert(
    fc.property(expression, text => {
      t.true(accepts(text, text), text)
      t.true(verifyAnswer(text, `\\boxed{${text}}`, { strict: true }).correct, text)
    }),
    runs,
  )
})

test('rewriting keeps an expression, changing it by one does not', t => {
  fc.assert(
    fc.property(expression, expression, (a, b) => {
      t.true(accepts(`${a}+${b}+1`, `1+${b}+${a}`), `${a} and ${b}`)
      t.true(accepts(`(${a})(${b}+1)+0`, `${a} \\cdot ${b}+${a}+0`), `${a} times ${b}`)
      t.false(accepts(`${a}+${b}`, `${a}+${b}+1`), `${a} and ${b}`)
    }),
    runs,
  )
})

test('between plain expressions equality is symmetric', t => {
  fc.assert(
    fc.property(expression, expression, (a, b) => {
      t.is(accepts(`${a}+0`, `${b}+0`), accepts(`${b}+0`, `${a}+0`), `${a} and ${b}`)
    }),
    runs,
  )
})

test('a number equals its spellings, and no other number', t => {
  const whole = fc.integer({ min: 1, max: 10 ** 9 })
  fc.assert(
    fc.property(whole, fc.integer({ min: 1, max: 1000 }), (n, other) => {
      const gold = String(n)
      const spellings = [
        gold,
        `0${gold}`,
        n.toLocaleString('en-US'),
        `${gold}.0`,
        `\\text{${gold}}`,
        `\\frac{${2 * n}}{2}`,
        `${n - 1}+1`,
        `${n} \\text{ units}`,
        `x=${n}`,
        `\\left(${n}\\right)`,
      ]
      for (const spelling of spellings) t.true(accepts(gold, spelling), spelling)
      t.false(accepts(gold, String(n + other)))
      t.false(accepts(gold, `-${gold}`))
    }),
    runs,
  )
})

test('a fraction equals its multiples and its decimals', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: -999, max: 999 }),
      fc.constantFrom(2, 4, 5, 8, 16, 20, 25),
      fc.integer({ min: 2, max: 9 }),
      (n, d, k) => {
        const gold = `\\frac{${n}}{${d}}`
        t.true(accepts(gold, `\\frac{${n * k}}{${d * k}}`))
        t.true(accepts(gold, String(n / d)), gold)
        t.true(accepts(gold, `${n}/${d}`))
        t.false(accepts(gold, `\\frac{${n + 1}}{${d}}`))
      },
    ),
    runs,
  )
})

test('a set takes its elements in any order, a tuple does not', t => {
  const items = fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 3, maxLength: 6 })
  fc.assert(
    fc.property(items, fc.integer({ min: 1, max: 5 }), (list, turn) => {
      const turned = [...list.slice(turn % list.length), ...list.slice(0, turn % list.length)]
      t.true(accepts(`\\{${list.join(',')}\\}`, `\\{${turned.join(', ')}\\}`))
      t.is(accepts(`(${list.join(',')})`, `(${turned.join(', ')})`), turn % list.length === 0)
    }),
    runs,
  )
})

test('a strict verdict is right only where the plain one is, for answers in one box', t => {
  fc.assert(
    fc.property(expression, expression, (a, b) => {
      if (verifyAnswer(a, `\\boxed{${b}}`, { strict: true }).correct) t.true(accepts(a, b), `${a} and ${b}`)
      t.pass()
    }),
    runs,
  )
})
