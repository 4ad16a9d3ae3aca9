// `luffy eval` on slices of the authors' files: the table, the files it writes, going on, what it refuses.
import { mkdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { type EvaluationReport, Policy } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { writeSmallTokenizer } from '../policy/_tokenizers.js'
import { lastLine, luffy } from './_luffy.js'

// One process after the other.
const test = ava.serial

const files = ['math', 'arc-challenge'].map(name => join(packageRoot, `test/data/${name}-validation.parquet`))

async function model(t: ExecutionContext): Promise<string> {
  const root = await temporaryFolder(t)
  await using policy = await Policy.create(
    {
      vocabSize: 512,
      hiddenSize: 32,
      intermediateSize: 48,
      layers: 1,
      heads: 2,
      kvHeads: 1,
      maxPositions: 4096,
      initializerRange: 0.1,
    },
    { device: 'cpu', seed: 3 },
  )
  await policy.save(join(root, 'model'))
  await writeSmallTokenizer(join(root, 'model'))
  await mkdir(join(root, 'data'))
  for (const [i, file] of files.entries()) await symlink(file, join(root, `data/${i}.parquet`))
  return root
}

test('both suites on slices: a table, JSON and Markdown; the same command again draws nothing', async t => {
  const root = await model(t)
  const args = (suite: string, ...more: string[]) => [
    ...['eval', join(root, 'model'), '--suite', suite, '--data', join(root, 'data'), '--template', 'luffy'],
    ...['--limit', '1', '--max-tokens', '6', '--out', join(root, suite), ...more],
  ]
  const shown = await luffy(args('math'))
  t.is(shown.code, 0, shown.stderr)
  t.regex(
    shown.stdout,
    /^benchmark +\| prompts \| +n \| pass@1 % \| error \| pass@n % \| cut % \| tokens \| tok\/s$/m,
  )
  for (const line of [
    /^AIME 24 +\| +1 \| 32 \| /m,
    /^AMC +\| +1 \| 32 \| /m,
    /^MATH-500 +\| +1 \| +1 \| /m,
    /^average /m,
  ]) {
    t.regex(shown.stdout, line)
  }
  t.regex(shown.stderr, /math +\[.*\] sample +\d+\/99 .*benchmark aime24 right \d+\.\d% tok\/s \d+/)
  t.regex(shown.stderr, /1172 rows are of other sources/)
  const read = async (suite: string) =>
    JSON.parse(await readFile(join(root, suite, 'results.json'), 'utf8')) as EvaluationReport
  const report = await read('math')
  t.deepEqual(
    report.benchmarks.map(({ samplesPerPrompt }) => samplesPerPrompt),
    [32, 32, 32, 1, 1, 1],
  )
  t.like(report, { temperature: 0.6, topP: 1, maxTokens: 6, seed: 0, template: 'luffy', suite: 'math' })
  t.true(report.benchmarks.every(({ tokensPerSecond, meanTokens }) => tokensPerSecond > 0 && meanTokens >= 1))
  const samples = (await readFile(join(root, 'math/samples.jsonl'), 'utf8')).trimEnd().split('\n')
  t.is(samples.length, 99)
  t.regex(JSON.parse(samples[0] ?? '').prompt, /^<\|im_start\|>system\nYour task is[\s\S]*<think>\n$/)
  const markdown = await readFile(join(root, 'math/results.md'), 'utf8')
  t.regex(markdown, /^\| benchmark +\| prompts \|/m)
  t.regex(markdown, /^- AIME 24, pass: @1 \d+\.\d, @2 .*@32 \d+\.\d$/m)

  const again = await luffy(args('math', '--json'))
  t.is(again.code, 0, again.stderr)
  t.regex(again.stderr, /99 samples were there already/)
  t.deepEqual((JSON.parse(again.stdout) as EvaluationReport).benchmarks, report.benchmarks)

  const ood = await luffy(args('ood'))
  t.is(ood.code, 0, ood.stderr)
  t.regex(ood.stdout, /^ARC-c +\| +1 \| 1 \| /m)
  t.regex(ood.stderr, /not in the data: GPQA-diamond, MMLU-Pro/)
})

test('what is wrong is named', async t => {
  const root = await model(t)
  const start = ['eval', join(root, 'model')]
  const cases: [args: string[], code: number, line: RegExp][] = [
    [start, 2, /required option '--data <path>' not specified/],
    [
      [...start, '--data', files[0] as string, '--suite', 'maths'],
      2,
      /--suite: .*"maths"; did you mean "math"\?/,
    ],
    [[...start, '--data', '/nowhere', '--template', 'luffy'], 3, /\/nowhere: no such file/],
    [['eval', '/nowhere', '--data', 'x'], 3, /\/nowhere: no such folder/],
    [[...start, '--data', files[0] as string], 2, /has no chat template/],
    [[...start, '--data', 'x', '--max-tokens', '0'], 2, /expected an integer of at least 1/],
  ]
  for (const [args, code, line] of cases) {
    const result = await luffy(args)
    t.is(result.code, code, result.stderr)
    t.regex(lastLine(result.stderr), line)
  }
})
