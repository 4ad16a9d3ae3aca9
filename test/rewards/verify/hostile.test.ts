// Texts made to hang or crash a verifier: each is answered soon, without an exception, and never taken for right.
import test from 'ava'
import { verifyAnswer } from '../../../lib/rewards/verify/verify-answer.js'
import { processorTime } from './_rows.js'

const times = (text: string, count: number) => text.repeat(count)
const nested = (open: string, close: string, count: number, inside = '1') =>
  times(open, count) + inside + times(close, count)
const grid = (size: number, cell: (i: number, j: number) => string) =>
  Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => cell(i, j)).join('&')).join(
    '\\\\',
  )

const hostile: Readonly<Record<string, string>> = {
  'nested parentheses': nested('(', ')', 5000),
  'nested braces': nested('{', '}', 5000),
  'nested roots': nested('\\sqrt{', '}', 1000),
  'nested fractions': nested('\\frac{1}{', '}', 400),
  'a continued fraction': nested('1+\\frac{1}{', '}', 60),
  'a continued fraction in x': nested('x+\\frac{1}{', '}', 60, 'x'),
  'a tower of powers': '9^{9^{9^9}}',
  'a huge power': '2^{1000000000}',
  'a tiny power': '2^{-1000000000}',
  'a power of a power': '(3/7)^{9999}^{99}',
  'a huge factorial': '1000000000!',
  'many factorials': nested('(', ')!', 50, '9'),
  'a huge binomial': '\\binom{1000000000}{500000000}',
  'a large binomial': '\\binom{100000}{3000}',
  '100,000 digits': times('9', 100_000),
  '100,000 decimals': `0.${times('3', 100_000)}`,
  'a long sum': '\\sum_{n=1}^{1000000000} n',
  'a double sum': '\\sum_{n=1}^{3000} \\sum_{m=1}^{3000} \\frac{1}{nm}',
  'a sum of high powers': '\\sum_{n=1}^{3000} \\frac{1}{n^{50}}',
  'a product of powers': '\\prod_{n=1}^{3000} n^{n}',
  'a sum of factorials': '\\sum_{n=1}^{3000} n!',
  'a power of a sum': '(a+b+c+d+e+f+g)^{400}',
  'a determinant of symbols': `\\begin{vmatrix}${grid(14, (i, j) => `a_{${i}${j}}`)}\\end{vmatrix}`,
  'a matrix': `\\begin{pmatrix}${grid(14, (i, j) => String(i * j))}\\end{pmatrix}`,
  '20,000 boxes': times('\\boxed{1}', 20_000),
  '20,000 open boxes': times('\\boxed{', 20_000),
  '200,000 spaces': `${times(' ', 200_000)}1`,
  'spaces before an equals sign': `answer:${times(' ', 65_000)}=`,
  'spaces in a final answer': `final answer${times(' ', 60_000)}is 5`,
  '50,000 display openings': times('\\[', 50_000),
  '50,000 inline openings': times('\\(', 50_000),
  '60,000 dollars': times('$', 60_000),
  'many small formulas': times('$x$,', 15_000),
  'formulas joined by and': times('$1$ and ', 8_000),
  'open braces': times('{', 60_000),
  'closing braces': times('}', 60_000),
  'a huge exponent': '1E999999999',
  'a huge negative exponent': '1E-999999999',
  carets: `${times('a^', 30_000)}a`,
  commas: times(',', 60_000),
  'numbers and commas': times('1,', 30_000),
  'the word answer': times('answer: ', 8_000),
  'answers without values': times('answer: x = ', 5_000),
  'the words final answer is': times('final answer is ', 4_000),
  'hopes cut short': times('final answer is 1. I hop', 2_500),
  'spaced digits': times('1 ', 30_000),
  'digits and signs': times('1+', 30_000),
  'minus signs': `${times('-', 60_000)}1`,
  bars: times('|', 2_000),
  'open bars': times('|x', 700) + times('|', 700),
  'a large set': `\\{${times('x,', 700)}x\\}`,
  'nested sets': nested('\\{', '\\}', 100),
  'a chain of functions': `${times('\\sin', 700)}x`,
  'nested calls': nested('f(', ')', 300, 'x'),
  unions: `${times('(1,2)\\cup', 150)}(3,4)`,
  'mixed numbers': times('1 ', 1_000),
  'open texts': times('\\text{', 10_000),
  fractions: times('\\frac', 10_000),
  'permutations left open': times('(a)_{', 1_500),
  'left brackets': times('\\left(', 10_000),
  'long denominators': `\\frac{1}{${times('7', 3_000)}}+\\frac{1}{${times('3', 2_900)}}`,
  'a high root': `\\sqrt[999]{${times('8', 2_000)}}`,
  'a sine of a huge number': '\\sin(10^{300})',
  'infinity less infinity': '\\infty-\\infty',
  'nothing by nothing': '\\frac{0}{0}',
  '700 symbols': Array.from({ length: 700 }, (_, i) => `x_{${i}}`).join('+'),
  'a tower of exponentials': 'e^{e^{e^{e^{e^{e^x}}}}}',
  'a chain of equations': `${times('x=', 700)}1`,
  'a chain of inequalities': `${times('1<', 700)}x`,
  'plus and minus': `${times('1\\pm ', 500)}1`,
  'grouped digits': `1${times(',111', 15_000)}`,
  'grouped digits that lead nowhere': `answer: 1${times(',111', 15_000)} =`,
  'control characters': '\u0000\u0001\u001b]8;;x\u0007',
  'lone surrogates': '\ud800\ud800',
  'right to left': '\u202e1',
}

// Each of its items alone is cheap enough.
const many = (count: number, item: (i: number) => string) =>
  `\\{${Array.from({ length: count }, (_, i) => item(i)).join(',')}\\}`
const items: Readonly<Record<string, (i: number) => string>> = {
  'powers of a fraction': i => `(7/3)^{${10_000 - i}}`,
  factorials: i => `${3000 - i}!`,
  'double sums': i => `\\sum_{n=1}^{50} \\sum_{m=1}^{50} \\frac{1}{nm+${i}}`,
}

for (const [name, item] of Object.entries(items)) {
  test(`a set of ${name}: answered within a second`, t => {
    const gold = many(40, item)
    const other = many(40, i => `${item(39 - i)}+1-1`)
    for (const strict of [false, true]) {
      const time = processorTime(() => verifyAnswer(gold, `\\boxed{${other}}`, { strict }))
      t.true(time < 1000, `${time.toFixed(0)} ms`)
      t.deepEqual(verifyAnswer('\\frac{1}{2}', '\\boxed{0.5}', { strict }), {
        correct: true,
        reason: 'equal',
      })
    }
  })
}

for (const [name, text] of Object.entries(hostile)) {
  test(`${name}: answered within a second`, t => {
    const pairs: [string, string][] = [
      ['42', text],
      ['42', `$${text}$`],
      ['42', `\\boxed{${text}}`],
      [text, '42'],
      [text, `\\boxed{${text}}`],
    ]
    for (const [gold, prediction] of pairs) {
      for (const strict of [false, true]) {
        let correct = false
        const time = processorTime(() => {
          correct = verifyAnswer(gold, prediction, { strict }).correct
        })
        t.true(time < 1000, `${time.toFixed(0)} ms for ${JSON.stringify(prediction.slice(0, 60))}`)
        if (gold === '42' || prediction === '42') t.false(correct, JSON.stringify(prediction.slice(0, 60)))
      }
    }
  })
}

const repeated = [
  '\\boxed{',
  '\\boxed{1}',
  'a^',
  '1 ',
  ' ',
  ',',
  '\\[ ',
  '$',
  '$1$ and ',
  'answer: 1 ',
  'final answer is 1 ',
  '{',
  '1+1 ',
]

test('twice the text takes at most about twice the time', t => {
  for (const part of repeated) {
    const timeOf = (size: number) => {
      const text = part.repeat(Math.floor(size / part.length))
      return Math.min(...[1, 2, 3].map(() => processorTime(() => verifyAnswer('42', text))))
    }
    timeOf(8_000)
    // Other programs share the caches: the best of three rounds.
    const rounds: string[] = []
    const holds = () => {
      const short = timeOf(30_000)
      const long = timeOf(60_000)
      rounds.push(`${short.toFixed(1)} ms, then ${long.toFixed(1)} ms`)
      return long <= 3 * short + 10
    }
    t.true(holds() || holds() || holds(), `${JSON.stringify(part)}: ${rounds.join('; ')}`)
  }
})
