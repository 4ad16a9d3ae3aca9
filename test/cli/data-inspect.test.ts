// `luffy data inspect`: tables, JSON, and what it refuses.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import type { DataReport } from '../../lib/data/inspect.js'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { writeSmallTokenizer } from '../policy/_tokenizers.js'
import { lastLine, luffy } from './_luffy.js'

// One process after the other.
const test = ava.serial

const file = join(packageRoot, 'test/data/pyarrow-zstd-pages-1.parquet')

test('tables of columns, counts and lengths, and the rows as the model sees them', async t => {
  const model = join(await temporaryFolder(t), 'model')
  await writeSmallTokenizer(model)
  const args = ['data', 'inspect', file, '--tokenizer', model, '--template', 'luffy', '--rows', '2']
  const shown = await luffy([...args, '--max-completion-length', '23'])
  t.is(shown.code, 0, shown.stderr)
  t.regex(shown.stdout, /parquet, 40 rows in 3 blocks/)
  t.regex(shown.stdout, /reward_model +\| \{ ground_truth: text, style: text \}/)
  t.regex(shown.stdout, /with a demonstration +\| +\d+/)
  t.regex(shown.stdout, /left out: demonstrationTooLong +\| +[1-9]/)
  t.regex(shown.stdout, /tokens +\| measured \| least \| median \| 90 % \| 99 % \| most/)
  t.regex(shown.stdout, /What is 1 \+ 1\? é<\|im_end\|>\\n<\|im_start\|>assistant\\n<think>\\n$/m)
  t.regex(shown.stdout, /demonstration {2}1 twice\.\\n<\/think>\\n\\boxed\{2\}<\|im_end\|>$/m)
  t.false(shown.stdout.includes('\u001b'))

  const json = await luffy([...args, '--json'])
  const report = JSON.parse(json.stdout) as DataReport
  t.like(report, {
    rows: 40,
    kept: 40,
    demonstrations: 30,
    answers: 40,
    unit: 'tokens',
    sources: { s0: 20, s1: 20 },
  })
  t.is(report.lengths.demonstration?.count, 30)
  t.is(report.first[1]?.demonstration, '1 twice.\n</think>\n\\boxed{2}<|im_end|>')
})

test('columns by name, text that a terminal must not see, and bad rows', async t => {
  const path = join(await temporaryFolder(t), 'x.jsonl')
  await writeFile(path, '{"q": "\\u001b[31mred\\u202e", "a": 5}\nnonsense\n')
  const args = ['data', 'inspect', path, '--column', 'prompt=q', '--column', 'answer=a']
  const bad = await luffy(args)
  t.is(bad.code, 3)
  t.regex(lastLine(bad.stderr), /x\.jsonl:2: column 1: /)
  const shown = await luffy([...args, '--skip-bad-rows'])
  t.is(shown.code, 0, shown.stderr)
  t.regex(shown.stdout, /left out: badRow +\| +1/)
  t.true(shown.stdout.includes('prompt         user: \\u{1b}[31mred\\u{202e}'))
  t.false(shown.stdout.includes('\u001b'))
})

test('what is wrong is named', async t => {
  const cases: [args: string[], code: number, line: RegExp][] = [
    [['none.parquet'], 3, /none\.parquet: no such file/],
    [[file, '--column', 'question=q'], 2, /--column question=q: expected one of prompt, demonstration/],
    [
      [file, '--reward', 'exactmatch'],
      2,
      /--reward: unknown option "exactmatch"; did you mean "exactMatch"\?/,
    ],
    [[file, '--max-prompt-length', '5'], 2, /expected --tokenizer too/],
    [[file, '--tokenizer', packageRoot], 3, /tokenizer\.json: no such file/],
    [[file, '--rows', '-1'], 2, /expected an integer of at least 0/],
  ]
  for (const [args, code, line] of cases) {
    const result = await luffy(['data', 'inspect', ...args])
    t.is(result.code, code, result.stderr)
    t.regex(lastLine(result.stderr), line)
  }
})
