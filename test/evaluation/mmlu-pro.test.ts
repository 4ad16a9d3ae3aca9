// MMLU-Pro in its authors' layout: the same question in every spelling of the right option; what does not fit is named.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { PromptFormat } from '../../lib/data/prompt-format.js'
import { DataError } from '../../lib/errors.js'
import { readEvaluationData } from '../../lib/evaluation/evaluation-data.js'
import { suites } from '../../lib/evaluation/suites.js'
import { CharacterTokenizer } from '../../lib/policy/tokenizer-simple.js'
import { temporaryFolder } from '../_helpers/folders.js'

const format = new PromptFormat(new CharacterTokenizer('a.', '.'), undefined)
const good = {
  question_id: 70,
  question: 'What is typical of a monopoly?\n',
  options: [
    'One seller',
    ' Many sellers',
    'No sellers',
    'Free entry',
    'No price',
    'Two',
    'Three',
    'Four',
    'Five',
    'Six',
  ],
  answer: 'A',
  answer_index: 0,
  cot_content: "A: Let's think step by step.",
  category: 'business',
  src: 'ori_mmlu-business',
}

async function read(t: Parameters<typeof temporaryFolder>[0], rows: readonly object[], shuffle = false) {
  const path = join(await temporaryFolder(t), 'test.jsonl')
  writeFileSync(path, rows.map(row => JSON.stringify(row)).join('\n'))
  return await readEvaluationData([path], {
    benchmarks: suites.ood,
    format,
    seed: 0,
    shuffleOptions: shuffle,
    keepSystem: false,
  })
}

test('question, options and the right one become a prompt and a letter', async t => {
  const { items, otherRows } = await read(t, [good])
  t.is(otherRows, 0)
  t.like(items[0], { benchmark: 'mmluPro', answer: 'A' })
  t.is(
    items[0]?.prompt,
    'What is typical of a monopoly?\n\nA) One seller\nB) Many sellers\nC) No sellers\nD) Free entry\nE) No price\n' +
      'F) Two\nG) Three\nH) Four\nI) Five\nJ) Six\n',
  )
})

test('a letter alone, a number alone, and both mean the same', async t => {
  const { answer, answer_index, ...rest } = good
  t.is(answer_index, 0)
  const spellings = [
    { ...rest, question: '1', answer: 'C', answer_index: 2 },
    { ...rest, question: '2', answer: 'C' },
    { ...rest, question: '3', answer_index: 2 },
    { ...rest, question: '4', answer: ' C ', answer_index: null },
  ]
  const { items } = await read(t, spellings)
  t.deepEqual(
    items.map(item => item.answer),
    ['C', 'C', 'C', 'C'],
  )
  t.is(answer, 'A')
})

test('options are shuffled, and the right one is followed', async t => {
  const { items } = await read(t, [good, { ...good, question: 'And of another?' }], true)
  for (const { prompt, answer } of items) t.regex(prompt, new RegExp(`^${answer}\\) One seller$`, 'm'))
  t.true(items.some(({ answer }) => answer !== 'A'))
})

test('what does not fit is named with its row', async t => {
  const wrong: [object, RegExp][] = [
    [{ answer: 'K' }, /test\.jsonl:2: column "answer": expected a letter from A to J, got "K"/],
    [{ answer: 'B' }, /column "answer_index": expected 1, which is B, got 0/],
    [
      { answer: null, answer_index: 10 },
      /column "answer_index": expected an option's number from 0 to 9, got 10/,
    ],
    [{ answer: null, answer_index: null }, /column "answer": expected a letter from A to J, got null/],
    [{ options: ['one'] }, /column "options": expected from 2 to 16 texts, got an array of 1/],
    [{ options: ['one', ''] }, /column "options": expected from 2 to 16 texts/],
    [{ options: 'one' }, /column "options": .* got "one"/],
    [{ question: ' ' }, /column "question": expected a question/],
  ]
  for (const [change, message] of wrong) {
    const error = await t.throwsAsync(
      read(t, [good, { ...good, ...change }]),
      { instanceOf: DataError },
      String(message),
    )
    t.regex(error!.message, message)
  }
})
