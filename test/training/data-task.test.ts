// From a file to a checkpoint: a small random policy with a byte-level tokenizer trains on a parquet file with
// demonstrations, through LUFFY's template and a reward by name; the checkpoint answers in the command.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ava from 'ava'
import { writeTrainingRows } from '../../lib/data/parquet-write.js'
import {
  CheckpointError,
  ConfigError,
  DataError,
  Policy,
  TokenizerError,
  type TrainConfig,
  type TrainEvent,
  train,
} from '../../lib/index.js'
import { luffyTemplate } from '../../lib/policy/luffy-template.js'
import { HuggingFaceTokenizer } from '../../lib/policy/tokenizer-hugging-face.js'
import { loadTokenizer } from '../../lib/policy/tokenizer-load.js'
import { planTrain } from '../../lib/training/plan.js'
import { namedTask } from '../../lib/training/run-task.js'
import { resolveTrainConfig } from '../../lib/training/train-config.js'
import { luffy } from '../cli/_luffy.js'
import { writeSmallTokenizer } from '../policy/_tokenizers.js'

// One run at a time: each has as many threads as there are cores.
const test = ava.serial

const folder = { root: '', model: '', train: '', eval: '' }
const system = { role: 'system', content: 'Add.' }
const row = (i: number) => ({
  prompt: [system, { role: 'user', content: `${i} + 1 = ?` }],
  demonstration: i === 5 ? null : `<think>\n${i} and one.\n</think>\n${i + 1}`,
  answer: i === 6 ? '' : String(i + 1),
  source: i % 2 ? 'odd' : 'even',
})

async function savePolicy(path: string, vocabSize: number, maxPositions: number): Promise<void> {
  await using policy = await Policy.create(
    {
      architecture: 'qwen2',
      vocabSize,
      hiddenSize: 32,
      intermediateSize: 48,
      layers: 2,
      heads: 2,
      kvHeads: 1,
      maxPositions,
      initializerRange: 0.1,
      eosTokenIds: vocabSize > 458 ? [456, 458] : [],
    },
    { device: 'cpu', seed: 3 },
  )
  await policy.save(path)
  await writeSmallTokenizer(path)
}

test.before(async () => {
  folder.root = await mkdtemp(join(tmpdir(), 'luffy-test-'))
  folder.model = join(folder.root, 'model')
  folder.train = join(folder.root, 'train.parquet')
  folder.eval = join(folder.root, 'eval.parquet')
  await savePolicy(folder.model, 512, 640) // the tokenizer has 459 ids: the embeddings are padded
  await writeTrainingRows(
    folder.train,
    Array.from({ length: 12 }, (_, i) => row(i)),
    { rowGroupRows: 5 },
  )
  await writeTrainingRows(folder.eval, [
    { ...row(20), demonstration: null },
    { ...row(21), demonstration: null },
  ])
})
test.after.always(() => rm(folder.root, { recursive: true, force: true }))

function config(changes: Partial<TrainConfig> = {}): TrainConfig {
  return {
    model: folder.model,
    data: { train: folder.train, eval: folder.eval, template: 'luffy', maxPromptLength: 150 },
    outputDir: folder.root,
    runName: 'run',
    method: 'luffy',
    maxSteps: 2,
    promptsPerStep: 4,
    promptsPerUpdate: 2,
    numGenerations: 3,
    maxCompletionLength: 40,
    evalSteps: 0,
    device: 'cpu',
    threads: 2,
    ...changes,
  }
}

interface Logged {
  prompt: string
  completion: string
  reward: number
  reason: string
  source: string
  finish_reason: string
  token_ids: number[]
}

async function completionsOf(run: string, step: number): Promise<Logged[]> {
  const path = join(folder.root, run, `completions/completions_0000${step}.jsonl`)
  return (await readFile(path, 'utf8'))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Logged)
}

test('two steps on a file, with its demonstrations as the policy should have written them', async t => {
  const events: TrainEvent[] = []
  const result = await train(config(), { onEvent: event => events.push(event) })
  t.is(result.step, 2)
  const [start] = events
  t.true(start?.type === 'start')
  t.deepEqual(start?.type === 'start' ? start.notices : [], [
    `${folder.train}: 11 of 12 rows; left out: unreadableAnswer 1 (train.parquet: row 7); without a demonstration: 1`,
    `${folder.eval}: 2 of 2 rows`,
  ])
  t.deepEqual(Object.keys(result.accuracy).sort(), ['even', 'odd'])
  t.regex(await readFile(join(folder.root, 'run/config.yaml'), 'utf8'), /bestBy: even/)

  const prompts: string[] = []
  const stops = new Set<number>()
  for (const step of [1, 2]) {
    const rows = await completionsOf('run', step)
    const demonstrations = rows.filter(({ source }) => source === 'off')
    const sampled = rows.filter(({ source }) => source === 'on')
    t.is(sampled.length, 8)
    for (const { finish_reason: reason, token_ids: ids } of sampled) {
      const ends = ids.flatMap((id, i) => (id === 456 || id === 458 ? [i] : []))
      t.deepEqual(ends, reason === 'stop' ? [ids.length - 1] : [], 'an end token is the last one')
      if (reason === 'stop') stops.add(ids.at(-1) as number)
    }
    prompts.push(...new Set(rows.map(({ prompt }) => prompt)))
    for (const { prompt, completion, reward, reason } of demonstrations) {
      const i = Number(/(\d+) \+ 1 = \?/.exec(prompt)?.[1])
      t.is(
        prompt,
        `<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n${i} + 1 = ?<|im_end|>\n<|im_start|>assistant\n<think>\n`,
      )
      t.is(completion, `${i} and one.\n</think>\n${i + 1}<|im_end|>`)
      t.deepEqual([reward, reason], [1, 'right'])
    }
    const tokenizer = await loadTokenizer(folder.model)
    const step2 = events.find(event => event.type === 'step' && event.step === step)
    const tokens = demonstrations.reduce(
      (sum, { completion }) => sum + tokenizer.encode(completion).length,
      0,
    )
    t.is(step2?.type === 'step' ? step2.metrics.offPolicyTokens : -1, tokens)
  }
  t.true(stops.size > 0, 'no sample ended by itself')
  t.is(new Set(prompts).size, 8, 'no prompt comes twice within an epoch')
})

test('a resumed run goes on with the same rows and the same numbers', async t => {
  const numbers = async (run: string) =>
    (await readFile(join(folder.root, run, 'metrics.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map(line =>
        Object.entries(JSON.parse(line)).filter(
          ([name]) => name !== 'step_time' && !name.startsWith('perf/'),
        ),
      )
      .filter(entries => entries.some(([name]) => name === 'grad_norm'))
  await train(config({ runName: 'parts', maxSteps: 1 }))
  await train(config({ runName: 'parts' }))
  t.deepEqual(await numbers('parts'), await numbers('run'))
  t.deepEqual(await completionsOf('parts', 2), await completionsOf('run', 2))
})

test('the checkpoint carries the tokenizer and the template, and answers', async t => {
  const checkpoint = join(folder.root, 'run/checkpoint-2')
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    t.deepEqual(await readFile(join(checkpoint, name)), await readFile(join(folder.model, name)), name)
  }
  t.is(await readFile(join(checkpoint, 'chat_template.jinja'), 'utf8'), luffyTemplate)
  const tokenizer = await loadTokenizer(checkpoint)
  t.true(tokenizer instanceof HuggingFaceTokenizer)
  const args = [
    'sample',
    checkpoint,
    '--prompt',
    '2 + 1 = ?',
    '--n',
    '2',
    '--max-tokens',
    '5',
    '--seed',
    '1',
    '--json',
  ]
  const answered = await luffy(args)
  t.is(answered.code, 0, answered.stderr)
  const rows = answered.stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { prompt: string; tokens: number })
  t.deepEqual(
    rows.map(({ prompt }) => prompt),
    ['2 + 1 = ?', '2 + 1 = ?'],
  )
  t.true(rows.every(({ tokens }) => tokens >= 1 && tokens <= 5))
  t.is((await luffy(args)).stdout, answered.stdout)
  const raw = await luffy([...args, '--raw'])
  t.is(raw.code, 0, raw.stderr)
  t.not(raw.stdout, answered.stdout, 'without the template another distribution')
})

test('the command trains on a file', async t => {
  const path = join(folder.root, 'config.json')
  await writeFile(path, JSON.stringify({ ...config({ runName: 'command', maxSteps: 1 }) }))
  const result = await luffy(['train', path, '--show-every', '0'])
  t.is(result.code, 0, result.stderr)
  t.regex(result.stderr, /train\.parquet: 11 of 12 rows; left out: unreadableAnswer 1/)
  t.regex(result.stdout, /step 1 of 1 done, saved/)
})

test('the mathematical reward by name judges strictly, behind the thinking that the template opened', async t => {
  const data = { train: folder.train, template: 'luffy', reward: 'math' as const, maxPromptLength: 150 }
  const boxed = join(folder.root, 'boxed.parquet')
  await writeTrainingRows(
    boxed,
    Array.from({ length: 6 }, (_, i) => ({
      ...row(i),
      // Rows 3 and 4 do not deserve a reward: an answer inside the thinking alone, and a wrong one.
      demonstration:
        i === 3
          ? '<think>\n\\boxed{4}'
          : `<think>\nSo.\n</think>\nIt is \\boxed{${i === 4 ? 6 : `\\frac{${2 * i + 2}}{2}`}}`,
      answer: i === 5 ? '\\unreadable{' : String(i + 1),
    })),
  )
  const events: TrainEvent[] = []
  await train(
    config({
      runName: 'math',
      maxSteps: 1,
      promptsPerStep: 5,
      promptsPerUpdate: 5,
      ropeTheta: 40000,
      maxPositions: 900,
      data: { ...data, train: boxed },
    }),
    {
      onEvent: event => events.push(event),
    },
  )
  const [start] = events
  t.deepEqual(start?.type === 'start' ? start.notices : [], [
    `${boxed}: 5 of 6 rows; left out: unreadableAnswer 1 (boxed.parquet: row 6)`,
  ])
  const written = JSON.parse(await readFile(join(folder.root, 'math/checkpoint-1/config.json'), 'utf8'))
  const theta = written.rope_theta ?? written.rope_parameters?.rope_theta
  t.deepEqual([theta, written.max_position_embeddings], [40000, 900], 'the overrides are recorded')
  const rows = await completionsOf('math', 1)
  const demonstrations = rows
    .filter(({ source }) => source === 'off')
    .map(({ prompt, reward, reason }) => [Number(/(\d+) \+ 1 = \?/.exec(prompt)?.[1]), reward, reason])
    .sort((a, b) => Number(a[0]) - Number(b[0]))
  t.deepEqual(demonstrations, [
    [0, 1, 'equal'],
    [1, 1, 'equal'],
    [2, 1, 'equal'],
    [3, 0, 'no thinking closed'],
    [4, 0, 'different'],
  ])
  t.true(rows.filter(({ source }) => source === 'on').every(({ reward }) => reward === 0))
})

test('demonstrations beyond the limit are left out when the files are opened, where they are to be learned from', async t => {
  const noticesOf = async (changes: Partial<TrainConfig>) => {
    const task = await namedTask(resolveTrainConfig(config(changes)), undefined)
    await task.dispose?.()
    return task.notices?.[0]
  }
  // `9 and one.` has one character more than the limit allows with the tags around it, `10 and one.` two.
  const most = (text: string) => Buffer.byteLength(text)
  const limit = most('9 and one.\n</think>\n10') + 1
  const within = await noticesOf({ maxCompletionLength: limit })
  await t.throwsAsync(noticesOf({ maxCompletionLength: 12 }), {
    instanceOf: DataError,
    message:
      /no row has a demonstration .*; 1 of 12 rows; left out: unreadableAnswer 1 .*, demonstrationTooLong 10 \(train\.parquet: row 1, .*, \.\.\.\)/,
  })
  t.regex(within ?? '', /11 of 12 rows; left out: unreadableAnswer 1 \(/)
  t.is(await noticesOf({ maxCompletionLength: 12, truncateDemonstrations: true }), within)
  t.is(
    `${await noticesOf({ maxCompletionLength: 12, method: 'grpo' })}; without a demonstration: 1`,
    within ?? '',
  )
})

test('a group in which nothing is sampled, or one sample alone, is told of', async t => {
  const noticesOf = async (runName: string, changes: Partial<TrainConfig>) => {
    const events: TrainEvent[] = []
    await train(config({ runName, maxSteps: 1, numGenerations: 1, ...changes }), {
      onEvent: event => events.push(event),
    })
    return events.flatMap(event => (event.type === 'start' ? event.notices : [])).join('\n')
  }
  t.regex(await noticesOf('alone', {}), /numGenerations \(1\) counts the demonstration: nothing is sampled/)
  t.regex(await noticesOf('single', { method: 'grpo' }), /numGenerations is 1: a sample has no other/)
  t.notRegex(await noticesOf('taught', { method: 'sft' }), /numGenerations/)
})

test('a run does not go on with other data, and says which file it is', async t => {
  const path = join(folder.root, 'changing.jsonl')
  const rows = (answer: string) =>
    Array.from({ length: 8 }, (_, i) =>
      JSON.stringify({ prompt: `${i} + 1 = ?`, target: `${i}.`, reward_model: { ground_truth: answer } }),
    )
  await writeFile(path, rows('1').join('\n'))
  const changing = (maxSteps: number) =>
    config({ runName: 'changing', maxSteps, data: { train: path, template: 'none', maxPromptLength: 150 } })
  await train(changing(1))
  const run = join(folder.root, 'changing')
  const before = await readdir(run)
  await writeFile(path, [...rows('1').slice(1), rows('2')[0]].join('\n'))
  for (const start of [train, (given: TrainConfig) => planTrain(resolveTrainConfig(given))]) {
    const error = await t.throwsAsync(start(changing(2)), { instanceOf: CheckpointError })
    t.true(
      error?.message.includes(`the run began with other data: ${path} has changed since; put the file back`),
      error?.message,
    )
    t.deepEqual(error?.details, { changed: [path] })
  }
  t.deepEqual(await readdir(run), before)
  await writeFile(path, rows('1').join('\n'))
  t.is((await train(changing(2))).step, 2)
})

test('what cannot work is said before the run folder is made', async t => {
  const data = { train: folder.train, template: 'luffy' }
  const small = join(folder.root, 'small')
  await savePolicy(small, 400, 256)
  const short = join(folder.root, 'short.jsonl')
  await writeFile(short, '{"prompt": "x"}\n')
  const bare = join(folder.root, 'bare.jsonl')
  await writeFile(bare, '{"prompt": "x", "trace": "y", "reward_model": {"ground_truth": "1"}}\n')
  const cases: [changes: Partial<TrainConfig>, type: new (message: string) => Error, message: RegExp][] = [
    [
      { data: { ...data, train: join(folder.root, 'none.parquet') } },
      DataError,
      /none\.parquet: no such file/,
    ],
    [
      { data: { ...data, train: short } },
      DataError,
      /no row is left; 0 of 1 rows; left out: unreadableAnswer 1/,
    ],
    [{ data: { ...data, strict: true } }, DataError, /1 rows cannot be used: .*row 7 \(unreadableAnswer\)/],
    [
      { data: { train: bare, template: 'none', maxPromptLength: 9 } },
      DataError,
      /bare\.jsonl: no row has a demonstration in column "target", from which luffy learns; .*data\.columns\.demonstration/,
    ],
    [
      {
        data: { train: bare, template: 'none', maxPromptLength: 9 },
        method: 'sftThenRl',
      },
      DataError,
      /no row has a demonstration in column "target", from which sft learns/,
    ],
    [{ data: { ...data, columns: { prompt: 'question' } } }, DataError, /no column "question" \(prompt\)/],
    [{ data: { ...data, template: 'auto' } }, ConfigError, /has no chat template; use luffy, none or a file/],
    [{ data: { ...data, reward: 'exact' as 'exactMatch' } }, ConfigError, /data\.reward/],
    [
      { data: { ...data, eval: folder.eval }, bestBy: 'all' },
      ConfigError,
      /bestBy: the task data has no set "all"; known: even, odd/,
    ],
  ]
  for (const [changes, type, message] of cases) {
    await t.throwsAsync(
      train(config({ runName: 'never', ...changes })),
      { instanceOf: type, message },
      String(message),
    )
  }
  await t.throwsAsync(train(config({ runName: 'never1', data: { ...data, maxPromptLength: 620 } })), {
    instanceOf: ConfigError,
    message:
      /data\.maxPromptLength \(620\) and maxCompletionLength \(40\) are 660 tokens, the policy has 640 positions/,
  })
  await t.throwsAsync(
    train(config({ runName: 'never2', model: small, data: { ...data, maxPromptLength: 150 } })),
    {
      instanceOf: TokenizerError,
      message: /the tokenizer's id 458 \("<\|im_end\|>"\) is beyond the policy's 400 embedding rows/,
    },
  )
  t.deepEqual(
    (await readdir(folder.root)).filter(name => name.startsWith('never')),
    [],
  )
})
