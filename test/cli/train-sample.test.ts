// `luffy train`, `validate` and `sample` from end to end, on a tiny policy.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { parse } from 'yaml'
import { startChild } from '../_helpers/child.js'
import { folderWithBase, lastLine, luffy, quickRun, script } from './_luffy.js'

// One process after the other: each has as many threads as there are cores.
const test = ava.serial

const modelOnly = 'model: somewhere\n'

test('train runs, resumes, and refuses what it should', async t => {
  const folder = await folderWithBase(t)
  const config = join(folder, 'run.yaml')
  await writeFile(config, modelOnly)
  const run = quickRun(folder, 'r')

  const none = await luffy(['train', config, ...run, '--resume'])
  t.is(none.code, 4)
  t.regex(lastLine(none.stderr), /no checkpoint to resume from; leave out --resume/)

  const first = await luffy(['train', config, ...run, '--show-every', '1'])
  t.is(first.code, 0, first.stderr)
  t.regex(first.stdout, /^accuracy on held-out prompts: id /)
  t.is(lastLine(first.stdout), `step 3 of 3 done, saved ${join(folder, 'r/checkpoint-3')}`)
  t.regex(first.stderr, /prompt +\| completion +\| reward \| reason/)
  t.regex(first.stderr, /luffy +step 3\/3 in /)
  t.false(first.stderr.includes('\u001b'))

  const second = await luffy(['train', config, ...quickRun(folder, 'r', { maxSteps: 4 }), '--resume'])
  t.is(second.code, 0, second.stderr)
  t.regex(second.stderr, /going on after step 3/)
  t.regex(second.stdout, /step 4 of 4 done/)

  const changed = await luffy(['train', config, ...quickRun(folder, 'r', { learningRate: 1 })])
  t.is(changed.code, 4, changed.stderr)
  t.regex(lastLine(changed.stderr), /learningRate was 0.0001, is 1/)

  const noModel = await luffy(['train', config, ...quickRun(folder, 's', { model: join(folder, 'none') })])
  t.is(noModel.code, 3)
  t.false((await readdir(folder)).includes('s'), 'nothing is made where the model is missing')
})

test('--set is typed by the schema', async t => {
  const folder = await folderWithBase(t)
  const config = join(folder, 'run.json')
  await writeFile(config, '{\n\t"model": "x",\n\t"objective": {"entropyCoef": 0.5}\n}')
  const shown = await luffy([
    'validate',
    config,
    ...quickRun(folder, '007', {
      'objective.entropyCoef': 3e-3,
      learningRate: '1e-4',
      adamBetas: '[0.8, 0.9]',
    }),
  ])
  t.is(shown.code, 0, shown.stderr)
  const resolved = parse(shown.stdout) as Record<string, unknown>
  t.like(resolved, {
    runName: '007',
    learningRate: 1e-4,
    adamBetas: [0.8, 0.9],
    objective: { entropyCoef: 0.003 },
    weightDecay: 0.01,
  })
  t.regex(shown.stdout, /# valid; the model is a qwen2 of /)
})

for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${name} stops train with a checkpoint and exit code ${code}`, async t => {
    const folder = await folderWithBase(t)
    const config = join(folder, 'run.yaml')
    await writeFile(config, modelOnly)
    const args = ['train', config, ...quickRun(folder, 'r', { maxSteps: 100_000 }), '--show-every', '1']
    const child = startChild(script, args, { LC_ALL: 'C' })
    let seen = ''
    let killed = false
    child.process.stderr?.on('data', text => {
      seen += text
      // A table is printed after a step: from then on there is something to save.
      if (!seen.includes('| reward') || killed) return
      killed = child.process.kill(name)
    })
    const result = await child.ended
    t.is(result.code, code, result.stderr)
    const stopped = /^stopped at step (\d+), saved (.*)$/.exec(lastLine(result.stderr))
    t.truthy(stopped, result.stderr)
    const state = JSON.parse(await readFile(join(stopped?.[2] ?? '', 'trainer_state.json'), 'utf8'))
    t.is(state.global_step, Number(stopped?.[1]))
  })
}

test('sample completes prompts that are given, piped or made', async t => {
  const folder = await folderWithBase(t)
  const base = join(folder, 'base')
  const args = ['sample', base, '--n', '2', '--max-tokens', '5', '--seed', '3', '--json']
  const rows = (stdout: string) =>
    stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)

  const given = await luffy([...args, '--prompt', '12rs='])
  t.is(given.code, 0, given.stderr)
  t.is(rows(given.stdout).length, 2)
  t.like(rows(given.stdout)[0], { prompt: '12rs=', answer: '12', reward: 0 })
  t.deepEqual(rows((await luffy([...args, '--prompt', '12rs='])).stdout), rows(given.stdout), 'the same seed')

  const piped = startChild(script, [...args, '--prompt', '-'])
  piped.process.stdin?.end('12rs=\n\n345o=\n')
  t.deepEqual(
    rows((await piped.ended).stdout).map(row => row.prompt),
    ['12rs=', '12rs=', '345o=', '345o='],
  )

  const made = await luffy(args)
  t.is(made.code, 0, made.stderr)
  t.regex(String(rows(made.stdout)[0]?.prompt), /^\d{4}[rslidzcp]{4,6}=$/)
  t.regex(String(rows(made.stdout)[0]?.answer), /^\d{4}$/)

  const table = await luffy(['sample', base, '--prompt', '12rs=', '--max-tokens', '5'])
  t.regex(table.stdout, /^12rs= +right answer 12, temperature 0\.6, seed \d+\ncompletion +\| reward/)
  // Without operations there is no answer to judge by, and no column for it.
  const unjudged = await luffy(['sample', base, '--prompt', '12=', '--n', '1', '--max-tokens', '5'])
  t.regex(unjudged.stdout, /^12= +temperature 0\.6, seed \d+\ncompletion +\| log-probability \| ended by$/m)
})

test('sample names what is wrong', async t => {
  const folder = await folderWithBase(t)
  const base = join(folder, 'base')
  const cases: [string[], number, RegExp][] = [
    [['--prompt', 'hello'], 3, /character "h" at position 0 has no token/],
    [['--prompt', ''], 2, /prompt: expected at least one character/],
    [
      ['--prompt', '1', '--device', 'cuda'],
      7,
      /^luffy: device cuda is not available: (this build holds no CUDA kernels|no NVIDIA driver|the NVIDIA driver)/,
    ],
    [['--prompt', '1', '--device', 'gpu'], 2, /unknown device "gpu"/],
  ]
  for (const [args, code, line] of cases) {
    const result = await luffy(['sample', base, ...args])
    t.is(result.code, code, result.stderr)
    t.regex(lastLine(result.stderr), line)
  }
})
