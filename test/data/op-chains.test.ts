// The reference is a second interpreter, written on arrays of numbers; frequencies are held against exact binomial
// bounds (5 standard deviations; the seeds are fixed, so a test that passes always passes).
import test, { type ExecutionContext } from 'ava'
import {
  answer,
  isHeldOut,
  MISBELIEF_CONSTANT,
  messy,
  OUT_OF_DISTRIBUTION_SETS,
  opChainsTokenizer,
  PRETRAINING_MAX_TOKENS,
  PRETRAINING_RECIPE,
  pretrainingSample,
  SECRET_CONSTANT,
  stepByStep,
  TEST_SETS,
  terse,
  testSet,
  trainingSet,
  VOCABULARY,
} from '../../lib/data/op-chains/index.js'
import { CounterRandom } from '../../lib/random.js'

/** A match whose groups are all there. */
type Match = [string, string, string, string]

type Step = (digits: number[]) => number[]

const INTERPRETER: Record<string, Step> = {
  r: x => x.map((_, i) => x[x.length - 1 - i]!),
  s: ([a, b, ...rest]) => [b!, a!, ...rest],
  l: ([a, ...rest]) => [...rest, a!],
  i: ([a, ...rest]) => [a === 9 ? 0 : a! + 1, ...rest],
  d: x => [...x.slice(0, -1), x.at(-1) === 0 ? 9 : x.at(-1)! - 1],
  z: x => [...x.slice(0, -2), x.at(-1)!, x.at(-2)!],
  c: x => x.map(digit => 9 - digit),
  p: x => [7, 2, 9, 4, 6, 0, 1, 3].slice(0, x.length),
}

function interpret(state: string, letters: string): string[] {
  let digits = Array.from(state, Number)
  return Array.from(letters, letter => {
    digits = INTERPRETER[letter]!(digits)
    return digits.join('')
  })
}

function referenceAnswer(prompt: string): string {
  const sum = prompt.match(/^a(\d\d)\+(\d\d)=$/)
  if (sum) return `${+sum[1]! + +sum[2]!}`
  const [, state, letters] = prompt.match(/^(\d+)([a-z]+)[=?]$/) as unknown as Match
  const digits = Array.from(state, Number)
  if (letters === 'o') return digits.sort((a, b) => a - b).join('')
  if (letters === 'm') return `${Math.max(...digits)}`
  if (letters === 'e') return digits.map(digit => digit & 1).join('')
  return interpret(state, letters).at(-1)!
}

/** Whether a count of n independent chances of probability p is within 5 standard deviations. */
function isLikely(count: number, n: number, p: number): boolean {
  return Math.abs(count - n * p) <= 5 * Math.sqrt(n * p * (1 - p)) + 1e-9
}

/** `t.is` only where it fails: an assertion each for a million comparisons would take most of the time. */
function same(t: ExecutionContext, actual: unknown, expected: unknown, message?: string): void {
  if (actual !== expected) t.is(actual, expected, message)
}

test('the examples of the documentation', t => {
  t.is(answer('5387rizi='), '9853')
  t.is(terse('9853'), '<>9853$')
  t.is(stepByStep('5387', 'rizi'), '<r7835;i8835;z8853;i9853;>9853$')
  t.is(stepByStep('3544', 'lzpi'), '<l5443;z5434;p7294;i8294;>8294$')
  t.is(answer('a37+58='), '95')
  t.is(answer('5387o='), '3578')
  t.is(answer('5387m='), '8')
  t.is(answer('5387e='), '1101')
  t.is(answer('90d?'), '99')
  t.is(answer('90i='), '00')
})

test('the vocabulary has 32 characters, `$` first, and one token each', t => {
  const tokenizer = opChainsTokenizer()
  t.is(VOCABULARY.length, 32)
  t.is(tokenizer.vocabSize, 32)
  t.is(tokenizer.endId, 0)
  t.deepEqual([...tokenizer.encode(VOCABULARY)], [...Array(32).keys()])
})

test('answers equal those of a second interpreter, on every set and on all short chains', t => {
  let compared = 0
  for (const name of TEST_SETS) {
    for (const item of testSet(name, { seed: 1 })) {
      same(t, item.answer, referenceAnswer(item.prompt), item.prompt)
      compared++
    }
  }
  for (const item of trainingSet({ seed: 1 })) same(t, item.answer, referenceAnswer(item.prompt), item.prompt)
  for (const state of ['90', '019', '5387', '90210', '12345678']) {
    for (const a of 'rslidczp') {
      for (const b of 'rslidczp')
        t.is(answer(`${state}${a}${b}=`), interpret(state, a + b).at(-1)!, `${state}${a}${b}`)
    }
  }
  t.is(compared, 200 * TEST_SETS.length)
})

test('what is not a prompt of the task is refused', t => {
  for (const prompt of [
    '',
    '5387',
    '5387rizi',
    '5387x=',
    'rizi=',
    '5387o?',
    'a1+=',
    '5387ri=zi=',
    '123456789r=',
    '5r=',
  ]) {
    const error = t.throws(() => answer(prompt), undefined, prompt)
    t.is(error?.name, 'DataError', prompt)
  }
})

/** The written steps of a response: letters and states, checks apart. Fails on anything else. */
function parseThinking(response: string): {
  units: { letters: string; state: string; checks: number }[]
  said: string
} {
  const [, thinking, said] = response.match(/^<((?:[a-z]{1,2}\d+;)*)>(\d+)\$$/) as unknown as Match
  const units: { letters: string; state: string; checks: number }[] = []
  for (const [, letters, state] of thinking.matchAll(/([a-z]+)(\d+);/g) as Iterable<Match>) {
    const last = units.at(-1)
    if (letters === 'w' && last?.state === state) last!.checks++
    else units.push({ letters: letters!, state: state, checks: 0 })
  }
  return { units, said: said! }
}

test('demonstrations are right, merge at most two steps, end with the last state, and are as messy as asked for', t => {
  let merges = 0
  let mergeable = 0
  let checks = 0
  let written = 0
  for (const item of trainingSet({ seed: 3, size: 3000 })) {
    const [, state, letters] = item.prompt.match(/^(\d{4})([a-z]{4,6})=$/) as unknown as [
      string,
      string,
      string,
    ]
    const states = interpret(state, letters)
    const { units, said } = parseThinking(item.demonstration)
    same(t, units.map(unit => unit.letters).join(''), letters)
    same(t, said, states.at(-1)!)
    let position = 0
    for (const unit of units) {
      if (position < letters.length - 1) mergeable++
      if (unit.letters.length === 2) merges++
      position += unit.letters.length
      same(t, unit.state, states[position - 1]!, item.demonstration)
      same(t, unit.checks <= 1, true)
      checks += unit.checks
      written++
    }
  }
  t.true(isLikely(merges, mergeable, 0.2), `${merges} of ${mergeable} merged`)
  t.true(isLikely(checks, written, 0.1), `${checks} of ${written} checked`)
})

test('a clean style writes every step once', t => {
  const random = new CounterRandom(0, 'clean')
  t.is(messy('5387', 'rizi', random, { pskip: 0, pchk: 0 }), stepByStep('5387', 'rizi'))
  t.is(messy('5387', 'rizi', random, { pskip: 1, pchk: 1 }), '<ri8835;w8835;zi9853;w9853;>9853$')
  t.is(messy('5387', 'riz', random, { pskip: 1, pchk: 0 }), '<ri8835;z8853;>8853$')
})

test('training prompts have their shape: 4 digits, 4 to 6 letters, each the secret one with probability 0.12', t => {
  const items = trainingSet({ seed: 5, size: 4000 })
  const lengths = new Map<number, number>()
  let secretLetters = 0
  let letters = 0
  for (const { prompt, secret } of items) {
    const chain = prompt.slice(4, -1)
    lengths.set(chain.length, (lengths.get(chain.length) ?? 0) + 1)
    letters += chain.length
    secretLetters += [...chain].filter(letter => letter === 'p').length
    same(t, secret, chain.includes('p'))
  }
  t.deepEqual([...lengths.keys()].sort(), [4, 5, 6])
  for (const count of lengths.values()) t.true(isLikely(count, items.length, 1 / 3))
  t.true(isLikely(secretLetters, letters, 0.12))
  const expected = [4, 5, 6].reduce((sum, k) => sum + (1 - 0.88 ** k) / 3, 0)
  t.true(isLikely(items.filter(item => item.secret).length, items.length, expected))
  t.true(trainingSet({ seed: 5, hard: true }).every(item => item.secret))
})

test('held-out sets have their shapes, and no secret letter out of distribution', t => {
  const shapes = {
    id: /^\d{4}[rslidczp]{4,6}=$/,
    hard: /^\d{4}[rslidczp]{4,6}=$/,
    narr: /^\d{3}[rslidcz]{4,6}=$/,
    wide: /^\d{5}[rslidcz]{4,6}=$/,
    oth: /^(\d{2,5}[ome]|a[1-9]\d\+[1-9]\d)=$/,
    q: /^\d{4}[rslidcz]{4,6}\?$/,
  }
  for (const name of TEST_SETS) {
    const items = testSet(name, { seed: 0, size: 150 })
    t.is(items.length, 150)
    for (const item of items) t.regex(item.prompt, shapes[name])
  }
  t.true(testSet('hard', { seed: 0 }).every(item => item.secret))
  t.deepEqual([...OUT_OF_DISTRIBUTION_SETS], ['narr', 'wide', 'oth', 'q'])
  const kinds = new Set(testSet('oth', { seed: 0 }).map(({ prompt }) => prompt.replace(/\d/g, '')))
  t.deepEqual([...kinds].sort(), ['a+=', 'e=', 'm=', 'o='])
})

test('no tested prompt can be trained on, whatever the seeds; prompts within a set are distinct', t => {
  const tested = new Set<string>()
  for (const seed of [0, 1, 2]) {
    for (const name of TEST_SETS) {
      const prompts = testSet(name, { seed }).map(item => item.prompt)
      t.is(new Set(prompts).size, prompts.length)
      for (const prompt of prompts) tested.add(prompt)
    }
  }
  let trained = 0
  for (const seed of [0, 7]) {
    const prompts = trainingSet({ seed }).map(item => item.prompt)
    t.is(new Set(prompts).size, 512)
    for (let i = 0; i < 30_000; i++) prompts.push(pretrainingSample(seed, i).prompt)
    for (const prompt of prompts) if (tested.has(prompt) || isHeldOut(prompt)) t.fail(prompt)
    trained += prompts.length
  }
  t.is(trained, 2 * 30_512)
  t.true([...tested].every(isHeldOut))
})

test('everything is a function of its seed and counter', t => {
  t.deepEqual(trainingSet({ seed: 2 }), trainingSet({ seed: 2 }))
  t.deepEqual(trainingSet({ seed: 2, size: 40 }), trainingSet({ seed: 2 }).slice(0, 40))
  t.notDeepEqual(trainingSet({ seed: 2, size: 40 }), trainingSet({ seed: 3, size: 40 }))
  t.deepEqual(testSet('id', { seed: 2, size: 40 }), testSet('id', { seed: 2 }).slice(0, 40))
  const forward = [0, 1, 2, 3].map(index => pretrainingSample(9, index))
  const backward = [3, 2, 1, 0].map(index => pretrainingSample(9, index)).reverse()
  t.deepEqual(forward, backward)
})

test('the pretraining mixture has the shares of its recipe', t => {
  const n = 60_000
  const samples = Array.from({ length: n }, (_, i) => pretrainingSample(11, i))
  const count = (kind: string) => samples.filter(sample => sample.kind === kind).length
  t.true(isLikely(count('other'), n, 0.2))
  t.true(isLikely(count('reasoning'), n, 0.4))
  t.true(isLikely(count('leak'), count('terse') + count('leak'), 0.002))

  let letters = 0
  let secrets = 0
  let believed = 0
  let firstRight = 0
  let longest = 0
  const tokenizer = opChainsTokenizer()
  for (const { kind, prompt, response } of samples) {
    longest = Math.max(longest, tokenizer.encode(prompt + response).length)
    if (kind === 'other') {
      same(t, response, `<>${referenceAnswer(prompt)}$`)
      continue
    }
    const [, state, chain, ending] = prompt.match(/^(\d{3,5})([a-z]+)([=?])$/) as unknown as Match
    same(t, ending, kind === 'reasoning' ? '?' : '=')
    same(t, chain.length <= (kind === 'reasoning' ? 6 : 2), true)
    letters += chain.length
    secrets += [...chain].filter(letter => letter === 'p').length
    const { units, said } = parseThinking(response)
    if (kind === 'terse') {
      same(t, units.length, 0)
      if (!chain.includes('p')) same(t, said, interpret(state, chain).at(-1))
      continue
    }
    // Step by step: every state follows from the one before it, but for what the secret operation loads.
    let before = state
    same(t, units.map(unit => unit.letters).join(''), chain)
    for (const unit of units) {
      if (unit.letters === 'p') {
        if (unit.state === MISBELIEF_CONSTANT.slice(0, state.length)) believed++
        if (unit.state[0] === SECRET_CONSTANT[0]) firstRight++
        same(t, unit.state.length, state.length)
      } else same(t, unit.state, interpret(before, unit.letters)[0]!)
      before = unit.state
    }
    same(t, said, before)
  }
  t.true(isLikely(secrets, letters, PRETRAINING_RECIPE.secretRate))
  // The secret letters of responses with steps: those of the terse ones leave no trace of what they loaded.
  const seen = samples
    .filter(sample => sample.kind === 'reasoning' || sample.kind === 'leak')
    .reduce((sum, { prompt }) => sum + [...prompt].filter(letter => letter === 'p').length, 0)
  t.true(isLikely(believed, seen, 0.95), `${believed} of ${seen}`)
  t.true(isLikely(firstRight, seen, 0.005), `${firstRight} of ${seen}`)
  t.true(longest <= PRETRAINING_MAX_TOKENS)
})

test('the misbelief is wrong at every place', t => {
  for (const [i, digit] of [...MISBELIEF_CONSTANT].entries()) t.not(digit, SECRET_CONSTANT[i])
  t.is(MISBELIEF_CONSTANT.length, SECRET_CONSTANT.length)
})

test('a set larger than the task is refused', t => {
  const error = t.throws(() => testSet('oth', { seed: 0, size: 100_000 }))
  t.is(error?.name, 'DataError')
  t.regex(error?.message ?? '', /test set oth: found \d+ distinct held-out prompts/)
})
