// Comparisons of a policy so small that a run takes a second: resumed, with a run that fails, and what is refused.
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ava, { type ExecutionContext } from 'ava'
import { prepareBase } from '../../lib/compare/base.js'
import { optionsOf, resolveCompareConfig } from '../../lib/compare/compare-config.js'
import { checkOverlap, planRuns } from '../../lib/compare/plan.js'
import { recordOf } from '../../lib/compare/run-record.js'
import { AbortedError, type CompareEvent, ConfigError, compare, opChainsTask } from '../../lib/index.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { folderWithBase, lastLine, luffy } from '../cli/_luffy.js'

const test = ava.serial

function tinyComparison(folder: string, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    name: 'tiny',
    outputDir: folder,
    base: join(folder, 'base'),
    seeds: [1, 2],
    jobs: 2,
    defaults: {
      maxSteps: 4,
      promptsPerStep: 2,
      promptsPerUpdate: 2,
      numGenerations: 3,
      maxCompletionLength: 48,
      evalSteps: 2,
      saveSteps: 2,
      device: 'cpu',
      task: { size: 8, testSize: 4 },
    },
    methods: ['luffy', { label: 'sft, slow', method: 'sft', learningRate: 1e-5 }],
    ...changes,
  }
}

const runsOf = (folder: string) => readdirSync(join(folder, 'runs')).sort()
const metricsOf = (folder: string, run: string) =>
  readFileSync(join(folder, 'runs', run, 'metrics.jsonl'), 'utf8')
/** What a run computed, without its times. */
const computed = (text: string) =>
  text
    .trim()
    .split('\n')
    .map(line =>
      Object.entries(JSON.parse(line) as Record<string, unknown>).filter(
        ([name]) => !name.startsWith('perf/') && name !== 'step_time',
      ),
    )

async function whole(t: ExecutionContext): Promise<{ folder: string; metrics: Map<string, string> }> {
  const folder = await folderWithBase(t)
  await compare(tinyComparison(folder))
  return { folder, metrics: new Map(runsOf(folder).map(run => [run, metricsOf(folder, run)])) }
}

test('every method runs with every seed, the table is that of the run folders, and nothing is run twice', async t => {
  const { folder, metrics } = await whole(t)
  const names = [...metrics.keys()]
  t.is(names.length, 4)
  t.deepEqual(
    names.map(name => name.replace(/-[0-9a-f]{16}$/, '')),
    ['luffy-seed-1', 'luffy-seed-2', 'sft-seed-1', 'sft-seed-2'],
  )
  const events: CompareEvent[] = []
  const times = names.map(name => statSync(join(folder, 'runs', name, 'metrics.jsonl')).mtimeMs)
  const again = await compare(tinyComparison(folder), { onEvent: event => events.push(event) })
  t.deepEqual(
    events.map(({ type }) => type),
    ['plan'],
  )
  t.deepEqual(
    names.map(name => statSync(join(folder, 'runs', name, 'metrics.jsonl')).mtimeMs),
    times,
  )
  t.deepEqual(
    again.methods.map(({ label, runs }) => [label, runs]),
    [
      ['luffy', 2],
      ['sft, slow', 2],
    ],
  )
  // The table's number from the run folders: the last evaluation of each seed, its sets, their mean.
  const ends = names.slice(0, 2).map(name => {
    const { evaluations } = recordOf(
      computed(metrics.get(name) ?? '').map(row => Object.fromEntries(row)) as never,
    )
    t.deepEqual(
      evaluations.map(({ step }) => step),
      [0, 2, 4],
    )
    const { narr, wide, oth, q } = (evaluations.at(-1)?.accuracy ?? {}) as Record<string, number>
    return ((narr ?? Number.NaN) + (wide ?? 0) + (oth ?? 0) + (q ?? 0)) / 4
  })
  const [first = 0, second = 0] = ends
  t.is(again.methods[0]?.columns['out of distribution']?.mean, (first + second) / 2)
  const markdown = readFileSync(join(folder, 'tiny/compare.md'), 'utf8')
  t.regex(markdown, /^\| sft, slow +\|/m)
  t.is(JSON.parse(readFileSync(join(folder, 'tiny/compare.json'), 'utf8')).records.length, 4)

  // Its folder is one that `luffy report` takes, also where it was moved to; what is named twice is shown once.
  const page = await luffy(['report', join(folder, 'tiny')])
  t.is(page.code, 0, page.stderr)
  const html = readFileSync(join(folder, 'tiny/report.html'), 'utf8')
  t.regex(html, /<title>tiny<\/title>/)
  t.regex(html, /Held-out prompts, after the last step\. Whiskers/)
  for (const text of ['sft, slow', 'out of distribution', 'luffy, seed 2']) t.true(html.includes(text), text)
  const moved = await temporaryFolder(t)
  cpSync(folder, moved, { recursive: true })
  renameSync(join(folder, 'runs'), join(folder, 'away'))
  const twice = await luffy(['report', join(moved, 'tiny'), `${join(moved, 'tiny')}/`, '--json'])
  t.is(twice.code, 0, twice.stderr)
  renameSync(join(folder, 'away'), join(folder, 'runs'))
  t.is(JSON.parse(twice.stdout).file, join(moved, 'tiny/report.html'))
  t.is(readFileSync(join(moved, 'tiny/report.html'), 'utf8').replaceAll(moved, folder).length, html.length)
  writeFileSync(join(moved, 'tiny/compare.json'), '{"records": 1}')
  const torn = await luffy(['report', join(moved, 'tiny')])
  t.is(torn.code, 4)
  t.regex(lastLine(torn.stderr), /compare\.json: is not what luffy compare writes/)

  // Another option is another run; the others stay.
  const changed = await compare(
    tinyComparison(folder, {
      methods: [
        { label: 'same', method: 'luffy' },
        { method: 'sft', learningRate: 2e-5 },
      ],
    }),
  )
  t.is(runsOf(folder).length, 6)
  t.deepEqual(changed.methods[0], { ...again.methods[0], label: 'same' } as never)
})

test('a comparison that is stopped goes on, and computes what one that was not stopped does', async t => {
  const { metrics } = await whole(t)
  const folder = await folderWithBase(t)
  const stop = new AbortController()
  let stopped = 0
  const error = await t.throwsAsync(
    compare(tinyComparison(folder), {
      signal: stop.signal,
      onEvent: event => {
        if (event.type === 'step' && event.step === 2) stop.abort('test')
        if (event.type === 'end' && event.outcome.kind === 'stopped') stopped += 1
      },
    }),
    { instanceOf: AbortedError },
  )
  t.regex(error.message, /of 4 runs unfinished; the same command goes on/)
  t.true(stopped >= 1)
  const result = await compare(tinyComparison(folder))
  t.is(result.records.length, 4)
  // The bases are the same weights, so the runs have the same names.
  t.deepEqual(runsOf(folder), [...metrics.keys()])
  for (const [run, text] of metrics) t.deepEqual(computed(metricsOf(folder, run)), computed(text), run)
})

test('a run that fails is reported, the others go on, and the exit code says it', async t => {
  const folder = await folderWithBase(t)
  const config = tinyComparison(folder, {
    seeds: [1],
    // A learning rate that drives the weights out of float32: the run diverges.
    methods: [
      'sft',
      {
        label: 'too fast',
        method: 'luffy',
        learningRate: 1e30,
        warmupSteps: 0,
        maxGradNorm: 0,
        saveSteps: 1,
      },
    ],
  })
  const path = join(folder, 'compare.yaml')
  writeFileSync(path, JSON.stringify(config))
  const { code, stdout, stderr } = await luffy(['compare', path])
  t.is(code, 5, stderr)
  t.regex(lastLine(stderr), /^luffy: too fast, seed 1, failed: /)
  t.regex(stdout, /^sft +\| .* \| +1$/m)
  t.regex(stdout, /^too fast +\| +- .*0, 1 failed$/m)
})

test('prompts that are trained on and evaluated on are refused', t => {
  const task = opChainsTask({ size: 8, testSize: 4 })
  checkOverlap(task, 'luffy')
  const [shared] = task.training
  const mixed = {
    ...task,
    evaluations: [
      ...task.evaluations,
      { name: 'seen', items: [{ prompt: shared?.prompt ?? '', answer: '' }] },
    ],
  }
  const error = t.throws(() => checkOverlap(mixed, 'luffy'), { instanceOf: ConfigError })
  t.regex(
    error.message,
    /^luffy: 1 of 1 prompts of the evaluation set seen of op-chains are trained on, such as "/,
  )
})

test('a module makes the task, and its overlap is found before any run', async t => {
  const folder = await folderWithBase(t)
  const module = join(folder, 'task.mjs')
  const library = new URL('../../lib/index.js', import.meta.url).href
  writeFileSync(
    module,
    `import { opChainsTask } from ${JSON.stringify(library)}
    export function makeTask({ seed, overlaps }) {
      const task = opChainsTask({ seed, size: 8, testSize: 4 })
      if (!overlaps) return { ...task, name: 'mine' }
      return { ...task, evaluations: [{ name: 'seen', items: task.training }] }
    }`,
  )
  const config = tinyComparison(folder, { module, seeds: [1], methods: ['luffy'] })
  const result = await compare(config)
  t.deepEqual(Object.keys(result.columns), ['id', 'hard', 'narr', 'wide', 'oth', 'q'])
  t.is(result.records.length, 1)
  rmSync(join(folder, 'runs'), { recursive: true })
  const overlapping = {
    ...config,
    defaults: { ...(config.defaults as object), taskOptions: { overlaps: true } },
  }
  await t.throwsAsync(compare(overlapping), { message: /8 of 8 prompts of the evaluation set seen/ })
  t.deepEqual(
    readdirSync(folder).filter(name => name === 'runs'),
    [],
  )
})

test('mistakes of a configuration are all said at once', async t => {
  const error = t.throws(
    () =>
      resolveCompareConfig({
        methods: ['luffy', 'luffy', { method: 'sft', seed: 3 }],
        seeds: [1, 1],
        defaults: { model: 'x' },
      }),
    { instanceOf: ConfigError },
  )
  for (const words of [
    'seeds: expected each one once',
    '"luffy" twice',
    'methods[2].seed',
    'defaults.model',
  ]) {
    t.true(error.message.includes(words), `${words}: ${error.message}`)
  }
  t.throws(() => resolveCompareConfig({ methods: ['luffy'], sseds: [1] }), {
    message: /unknown option "sseds"/,
  })
  const wrong = resolveCompareConfig({ methods: [{ label: 'mine', learningRate: -1 }], base: 'nowhere' })
  await t.throwsAsync(planRuns(wrong, { folder: 'nowhere', digest: '' }, 2), {
    message: /^mine: .*learningRate/,
  })
  // What no run could begin with is said once, before there is any.
  const folder = await folderWithBase(t)
  const long = resolveCompareConfig({
    methods: ['luffy', 'sft'],
    defaults: { data: { train: join(folder, 'rows.jsonl'), maxPromptLength: 99_999 } },
  })
  await t.throwsAsync(planRuns(long, { folder: join(folder, 'base'), digest: '' }, 2), {
    instanceOf: ConfigError,
    message:
      /^luffy: data\.maxPromptLength \(99999\) and maxCompletionLength \(64\) are 100063 tokens, the policy has \d+ pos/,
  })
})

test("options of a method's entry stand over those by method, those over the defaults", t => {
  const given = {
    defaults: { learningRate: 1, maxSteps: 1, seed: 0 },
    perMethod: { sft: { learningRate: 2, maxSteps: 2 } },
  }
  t.deepEqual(optionsOf({ label: 'x', method: 'sft', learningRate: 3 }, given), {
    method: 'sft',
    learningRate: 3,
    maxSteps: 2,
    seed: 0,
  })
  t.like(optionsOf('sft', given), { learningRate: 2, maxSteps: 2 })
  t.like(optionsOf('luffy', given), { learningRate: 1, maxSteps: 1 })
})

test('a base with other weights is another base', async t => {
  const folder = await folderWithBase(t)
  const config = resolveCompareConfig(tinyComparison(folder))
  const { digest } = await prepareBase(config)
  t.is((await prepareBase(config)).digest, digest)
  const weights = join(folder, 'base/model.safetensors')
  const bytes = readFileSync(weights)
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
  writeFileSync(weights, bytes)
  t.not((await prepareBase(config)).digest, digest)
})

test('a run has one name, whatever it is called and wherever it stands; seeds and bases make others', async t => {
  const plan = async (changes: Record<string, unknown>, digest = 'base') => {
    const config = resolveCompareConfig(
      tinyComparison('somewhere', { seeds: [1], methods: ['luffy'], ...changes }),
    )
    const { runs } = await planRuns(config, { folder: 'somewhere/base', digest }, 2)
    return runs[0]?.hash
  }
  const hash = await plan({})
  t.is(await plan({ methods: [{ label: 'other name', method: 'luffy' }] }), hash)
  t.is(await plan({ outputDir: 'elsewhere', jobs: 1 }), hash)
  t.not(await plan({ seeds: [2] }), hash)
  t.not(await plan({}, 'other base'), hash)
  // A module's task counts by what is in it.
  const folder = await temporaryFolder(t)
  const library = new URL('../../lib/index.js', import.meta.url).href
  const ofModule = async (name: string, size: number) => {
    const module = join(folder, name)
    writeFileSync(
      module,
      `import { opChainsTask } from ${JSON.stringify(library)}
      export const makeTask = ({ seed }) => opChainsTask({ seed, size: ${size}, testSize: 4 })`,
    )
    return await plan({ module })
  }
  const mine = await ofModule('a.mjs', 8)
  t.is(await ofModule('b.mjs', 8), mine)
  t.not(await ofModule('c.mjs', 9), mine)
  t.not(await plan({ methods: [{ method: 'luffy', objective: { shaping: { kind: 'none' } } }] }), hash)
})
