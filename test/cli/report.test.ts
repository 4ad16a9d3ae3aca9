// `luffy report` on a run that `luffy train` has made: what training logs is what the page shows.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { folderWithBase, lastLine, luffy, quickRun } from './_luffy.js'

test('a trained run has its page: histogram, token texts and log-probabilities, times', async t => {
  const folder = await folderWithBase(t)
  const config = join(packageRoot, 'examples/luffy-op-chains.yaml')
  const trained = await luffy(['train', config, ...quickRun(folder, 'run')])
  t.is(trained.code, 0, trained.stderr)
  const run = join(folder, 'run')
  const rows = (await readFile(join(run, 'metrics.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const steps = rows.filter(row => row.loss !== undefined)
  t.true(steps.length > 0)
  for (const row of steps) {
    const counts = row['luffy/off_weight_histogram'] as number[]
    t.is(counts.length, 20)
    t.is(
      counts.reduce((sum, count) => sum + count, 0),
      row['luffy/off_policy_tokens'],
    )
    t.is(row['completions/unlogged'], 0)
  }
  const completions = (await readFile(join(run, 'completions/completions_00001.jsonl'), 'utf8'))
    .trim()
    .split('\n')
  const logged = completions.map(line => JSON.parse(line))
  t.true(logged.some(row => row.source === 'off') && logged.some(row => row.source === 'on'))
  for (const row of logged) {
    t.is(row.pieces.join(''), row.completion)
    t.is(row.logprobs.length, row.token_ids.length)
    t.true(row.logprobs.every((value: number) => value <= 0))
    t.is(typeof row.advantage, 'number')
  }

  const out = join(folder, 'page.html')
  const svg = join(folder, 'pictures')
  const made = await luffy(['report', run, '--out', out, '--svg', svg, '--title', 'a title'])
  t.is(made.code, 0, made.stderr)
  t.regex(made.stdout, /page\.html: \d+ KiB\n\d+ pictures in /)
  t.is(made.stderr, '')
  const html = await readFile(out, 'utf8')
  t.regex(html, /<title>a title<\/title>/)
  t.true(
    html.includes(
      JSON.stringify(logged[0].pieces.join(''))
        .slice(1, -1)
        .replaceAll('<', '\\u003c')
        .replaceAll('>', '\\u003e'),
    ),
  )
  t.true((await readdir(svg)).includes('weights-luffy.svg'))
  t.is(JSON.parse((await luffy(['report', run, '--json'])).stdout).file, join(run, 'report.html'))
})

test('a folder that is not there ends with exit code 4', async t => {
  const made = await luffy(['report', '/none/such'])
  t.is(made.code, 4)
  t.regex(lastLine(made.stderr), /\/none\/such: no such folder/)
})
