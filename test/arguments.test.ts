// Public functions given nulls, holes and values of other kinds: an error of luffy's that names the place, never the
// engine's own ("Cannot read properties of null"), which a caller could not tell from a bug.
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import {
  CharacterTokenizer,
  type Device,
  groupAdvantages,
  LuffyError,
  logitsPolicyLoss,
  measureAccuracy,
  opChainsTask,
  Policy,
  policyLoss,
  pretrain,
  resolveTrainConfig,
  scoreCompletions,
  Trainer,
  train,
} from '../lib/index.js'
import { temporaryFolder } from './_helpers/folders.js'
import { tinyPolicies, withPolicy } from './_helpers/policies.js'

// What a caller in plain JavaScript, or with parsed JSON, may pass.
// biome-ignore lint/suspicious/noExplicitAny: wrong types are the point
type Anything = any

/** [what is called, its call, what the message begins with] */
type Case = readonly [string, () => unknown, RegExp]

const hole = (before: unknown) => {
  const array = [before]
  array.length = 2
  return array as Anything
}

async function refuses(t: ExecutionContext, cases: readonly Case[]): Promise<void> {
  t.true(cases.length > 0)
  for (const [name, call, message] of cases) {
    let error: unknown
    try {
      await call()
    } catch (thrown) {
      error = thrown
    }
    const typed = error instanceof TypeError || error instanceof RangeError || LuffyError.isInstance(error)
    t.true(typed, `${name}: ${String(error)}`)
    t.regex((error as Error).message, message, name)
  }
}

const member = { tokens: Int32Array.of(3, 4, 5, 6), promptLength: 2, offPolicy: false, reward: 1 }
const tokens = Int32Array.of(3, 4)
const nd = (data: Anything, shape: Anything) => ({ data, shape })
const row = nd(new Float32Array(2), [1, 2])

const inPolicy = (policy: Policy, trainer: Trainer, device: Device): Case[] => {
  const p = policy as Anything
  const train = (groups: Anything) => () => trainer.trainStep(groups)
  const members = (...list: Anything[]) => train([{ members: list }])
  const loss = (changes: object) => () =>
    policyLoss(device, {
      logProbs: row,
      advantages: row,
      mask: row,
      offPolicyMask: row,
      ...changes,
    } as Anything)
  return [
    ['sample(null)', () => p.sample(null), /^prompts: expected an array of Int32Array, got null/],
    [
      'sample([null])',
      () => p.sample([null]),
      /^prompts\[0\]: expected an Int32Array of token ids, got null/,
    ],
    ['sample hole', () => p.sample(hole(tokens)), /^prompts\[1\]: expected an Int32Array .*got undefined/],
    ['sample empty hole', () => p.sample(new Array(1)), /^prompts\[0\]: expected an Int32Array/],
    ['sample options null', () => p.sample([tokens], null), /^sample: expected an options object, got null/],
    [
      'stopTokens hole',
      () => p.sample([tokens], { stopTokens: hole(1) }),
      /^stopTokens\[1\]: expected an integer/,
    ],
    [
      'stopTokens null',
      () => p.sample([tokens], { stopTokens: [null] }),
      /^stopTokens\[0\]: expected an integer/,
    ],
    [
      'promptNumbers hole',
      () => p.sample([tokens], { promptNumbers: new Array(1) }),
      /^promptNumbers\[0\]: expected an integer/,
    ],
    [
      'onProgress',
      () => p.sample([tokens], { onProgress: 'x' }),
      /^onProgress: expected a function, got "x"/,
    ],
    ['logProbs(null)', () => p.logProbs(null), /^sequences: expected an array, got null/],
    [
      'logProbs([null])',
      () => p.logProbs([null]),
      /^sequences\[0\]: expected \{ tokens, promptLength \}, got null/,
    ],
    ['logProbs hole', () => p.logProbs(new Array(2)), /^sequences\[0\]: expected \{ tokens, promptLength \}/],
    ['logProbs number', () => p.logProbs([3]), /^sequences\[0\]: expected \{ tokens, promptLength \}, got 3/],
    ['logProbs null options', () => p.logProbs([], null), /^logProbs: expected an options object, got null/],
    ['trainStep(null)', train(null), /^groups: expected an array of groups, got null/],
    ['trainStep([null])', train([null]), /^groups\[0\]: expected \{ members \}, got null/],
    [
      'trainStep hole',
      train(hole({ members: [member] })),
      /^groups\[1\]: expected \{ members \}, got undefined/,
    ],
    ['members null', train([{ members: null }]), /^groups\[0\]\.members: expected an array, got null/],
    ['members [null]', members(member, null), /^groups\[0\]\.members\[1\]: expected an object, got null/],
    [
      'members hole',
      members(...hole(member)),
      /^groups\[0\]\.members\[1\]: expected an object, got undefined/,
    ],
    [
      'sparse members',
      train([{ members: hole(member) }]),
      /^groups\[0\]\.members\[1\]: expected an object, got undefined/,
    ],
    [
      'tokens null',
      members(member, { ...member, tokens: null }),
      /^groups\[0\]\.members\[1\]\.tokens: expected an Int32Array of token ids, got null/,
    ],
    ['reward null', members({ ...member, reward: null }), /members\[0\]\.reward: expected a number/],
    ['mask null', members({ ...member, mask: null }), /members\[0\]\.mask: expected a Uint8Array, got null/],
    [
      'offPolicy null',
      members({ ...member, offPolicy: null }),
      /\.offPolicy: expected true, false or a Uint8Array, got null/,
    ],
    [
      'oldLogProbs null',
      members({ ...member, oldLogProbs: null }),
      /\.oldLogProbs: expected a Float32Array, got null/,
    ],
    [
      'advantage null',
      members({ ...member, advantage: null }),
      /\.advantage: expected a number or a Float32Array, got null/,
    ],
    [
      'trainStep options',
      () => trainer.trainStep([], null as Anything),
      /^trainStep: expected an options object/,
    ],
    ['loadState', () => trainer.loadState('x', null as Anything), /^state: expected a TrainerState/],
    [
      'loadState folder',
      () => trainer.loadState(null as Anything, {} as Anything),
      /^folder: expected a path, got null/,
    ],
    ['saveState folder', () => trainer.saveState(null as Anything), /^folder: expected a path, got null/],
    ['save folder', () => p.save(null), /^folder: expected a path, got null/],
    [
      'tokenizerFrom',
      () => p.save('x', { tokenizerFrom: 7 }),
      /^tokenizerFrom: expected a folder or null, got 7/,
    ],
    ['maxShardBytes', () => p.save('x', { maxShardBytes: 'x' }), /^maxShardBytes: expected an integer/],
    ['Trainer.create(null)', () => Trainer.create(null as Anything), /^policy: expected a Policy, got null/],
    [
      'betas',
      () => Trainer.create(policy, { optimizer: { betas: hole(0.9) } }),
      /^optimizer\.betas\[1\]: expected a number/,
    ],
    ['method', () => Trainer.create(policy, { method: null as Anything }), /^method: expected one of/],
    [
      'method without parts',
      () => Trainer.create(policy, { method: { name: 'mine', objective: null } as Anything }),
      /^method\.objective: expected an options object, got null/,
    ],
    [
      'policyLoss inputs',
      () => policyLoss(device, null as Anything),
      /^policyLoss: expected an options object, got null/,
    ],
    [
      'policyLoss objective',
      () => policyLoss(device, {} as Anything, null as Anything),
      /^objective: expected an options object, got null/,
    ],
    ['logProbs of policyLoss', loss({ logProbs: null }), /^logProbs: expected \{ data, shape \}/],
    ['mask of policyLoss', loss({ mask: null }), /^mask: expected \{ data, shape \}/],
    ['refLogProbs of policyLoss', loss({ refLogProbs: null }), /^refLogProbs: expected \{ data, shape \}/],
    ['data', loss({ logProbs: nd(null, [1, 2]) }), /^logProbs\.data: expected a typed array, got null/],
    [
      'BigInts',
      loss({ mask: nd(new BigInt64Array(2), [1, 2]) }),
      /^mask\.data: expected a typed array of numbers/,
    ],
    [
      'shape hole',
      loss({ logProbs: nd(new Float32Array(2), hole(1)) }),
      /^logProbs: expected \{ data, shape \}/,
    ],
    [
      'device',
      () => policyLoss(null as Anything, { logProbs: row } as Anything),
      /^device: expected a Device/,
    ],
    [
      'logitsPolicyLoss tokens',
      () =>
        logitsPolicyLoss(device, { logits: nd(new Float32Array(4), [1, 1, 4]), tokens: null } as Anything),
      /^tokens: expected \{ data, shape \}/,
    ],
    [
      'measureAccuracy task',
      () => measureAccuracy(policy, null as Anything, null as Anything, null as Anything),
      /^task: expected a Task, got null/,
    ],
    [
      'measureAccuracy set',
      () =>
        measureAccuracy(policy, opChainsTask({ size: 1, testSize: 1 }), null as Anything, null as Anything),
      /^set: expected \{ name, items \}, got null/,
    ],
    [
      'measureAccuracy options',
      () =>
        measureAccuracy(
          policy,
          opChainsTask({ size: 1, testSize: 1 }),
          { name: 'x', items: [] },
          null as Anything,
        ),
      /^measureAccuracy: expected an options object, got null/,
    ],
    [
      'measureAccuracy policy',
      () => measureAccuracy(null as Anything, null as Anything, null as Anything, null as Anything),
      /^policy: expected a Policy, got null/,
    ],
    [
      'pretrain policy',
      () => pretrain(null as Anything, null as Anything, null as Anything),
      /^policy: expected a Policy, got null/,
    ],
    [
      'pretrain sequence',
      () => pretrain(policy, null as Anything, null as Anything),
      /^sequence: expected a function, got null/,
    ],
    [
      'pretrain options',
      () => pretrain(policy, () => member, null as Anything),
      /^pretrain: expected an options object, got null/,
    ],
    ['pretrain steps', () => pretrain(policy, () => member, {} as Anything), /^steps: expected an integer/],
  ]
}

test('policies, trainers and losses name the argument', async t => {
  await withPolicy(tinyPolicies.qwen2, {}, async (policy, device) => {
    await using trainer = await Trainer.create(policy, { method: 'luffy' })
    const { liveBytes } = device.info()
    await refuses(t, inPolicy(policy, trainer, device))
    await device.synchronize()
    t.is(device.info().liveBytes, liveBytes, 'and nothing is left on the device')
  })
})

test('functions without a policy name the argument', async t => {
  const folder = await temporaryFolder(t)
  const input = { promptIndex: 0, prompt: '', completion: '', tokens, answer: null, row: null }
  const advantages = (changes: object) => () =>
    groupAdvantages({ rewards: [1, 0], groups: [0, 0], offPolicy: [0, 1], ...changes } as Anything)
  const task = opChainsTask({ size: 1, testSize: 1 })
  const withTask = (task: Anything) => () =>
    train({ model: join(folder, 'm'), outputDir: folder, device: 'cpu' }, { task })
  await refuses(t, [
    ['rewards null', advantages({ rewards: null }), /^rewards: expected an array, got null/],
    ['rewards [null]', advantages({ rewards: [1, null] }), /^rewards\[1\]: expected a number.*got null/],
    ['rewards hole', advantages({ rewards: hole(1) }), /^rewards\[1\]: expected a number.*got undefined/],
    [
      'rewards symbol',
      advantages({ rewards: [1, Symbol('x')] }),
      /^rewards\[1\]: expected a number.*got a symbol/,
    ],
    ['rewards text', advantages({ rewards: [1, '1'] }), /^rewards\[1\]: expected a number.*got "1"/],
    ['groups hole', advantages({ groups: hole(1) }), /^groups\[1\]: expected an integer/],
    [
      'offPolicy hole',
      advantages({ offPolicy: hole(1) }),
      /^offPolicy\[1\]: expected true, false, 0 or 1, got undefined/,
    ],
    [
      'offPolicy text',
      advantages({ offPolicy: [0, 'no'] }),
      /^offPolicy\[1\]: expected true, false, 0 or 1, got "no"/,
    ],
    [
      'groupAdvantages null',
      () => groupAdvantages(null as Anything),
      /^groupAdvantages: expected an options object/,
    ],
    [
      'device',
      () => groupAdvantages({ rewards: [], groups: [], offPolicy: [] }, {}, null as Anything),
      /^device: expected a Device/,
    ],
    ['Policy.load(null)', () => Policy.load(null as Anything), /^folder: expected a path, got null/],
    [
      'Policy.load options',
      () => Policy.load('x', null as Anything),
      /^Policy.load: expected an options object, got null/,
    ],
    [
      'allowNonFinite',
      () => Policy.load('x', { allowNonFinite: 'yes' as Anything }),
      /^allowNonFinite: expected true or false, got "yes"/,
    ],
    [
      'onWarning',
      () => Policy.load('x', { onWarning: {} as Anything }),
      /^onWarning: expected a function, got an object/,
    ],
    [
      'onProgress',
      () => Policy.load('x', { onProgress: 1 as Anything }),
      /^onProgress: expected a function, got 1/,
    ],
    ['Policy.create(null)', () => Policy.create(null as Anything), /^Policy.create: expected an object/],
    [
      'eosTokenIds',
      () => Policy.create({ vocabSize: 9, eosTokenIds: hole(1) }),
      /eosTokenIds\[1\]: expected an integer/,
    ],
    [
      'Policy.create options',
      () => Policy.create({ vocabSize: 9 }, null as Anything),
      /^Policy.create: expected an options/,
    ],
    [
      'opChainsTask(null)',
      () => opChainsTask(null as Anything),
      /^opChainsTask: expected an options object, got null/,
    ],
    [
      'opChainsTask option',
      () => opChainsTask({ sise: 3 } as Anything),
      /^opChainsTask: unknown option "sise"; did you mean "size"/,
    ],
    ['opChainsTask seed', () => opChainsTask({ seed: 'x' as Anything }), /^seed: expected an integer/],
    [
      'opChainsTask hard',
      () => opChainsTask({ hard: 1 as Anything }),
      /^hard: expected true or false, got 1/,
    ],
    [
      'tokenizer',
      () => new CharacterTokenizer(null as Anything, '$'),
      /^characters: expected a string or an array/,
    ],
    [
      'tokenizer hole',
      () => new CharacterTokenizer(hole('$'), '$'),
      /^characters\[1\]: expected a string, got undefined/,
    ],
    ['encode', () => task.tokenizer.encode(null as Anything), /^text: expected a string, got null/],
    [
      'decode',
      () => task.tokenizer.decode(null as Anything),
      /^ids: expected an array of token ids, got null/,
    ],
    ['decode hole', () => task.tokenizer.decode(hole(1)), /^ids\[1\]: expected an integer/],
    [
      'scoreCompletions',
      () => scoreCompletions(null as Anything, [input]),
      /^reward: expected a function, got null/,
    ],
    [
      'scoreCompletions inputs',
      () => scoreCompletions(() => 1, null as Anything),
      /^inputs: expected an array, got null/,
    ],
    [
      'scoreCompletions entry',
      () => scoreCompletions(() => 1, [null as Anything]),
      /^inputs\[0\]: expected an object, got null/,
    ],
    ['train(null)', () => train(null as Anything), /^configuration: the configuration: /],
    [
      'train options',
      () => train({ model: 'm' }, null as Anything),
      /^train: expected an options object, got null/,
    ],
    [
      'onEvent',
      () => train({ model: 'm' }, { onEvent: 'log' as Anything }),
      /^onEvent: expected a function, got "log"/,
    ],
    ['resolveTrainConfig', () => resolveTrainConfig(null), /^configuration: the configuration: /],
    ['task null', withTask(null), /^task: expected a Task, got null/],
    [
      'task without a tokenizer',
      withTask({ ...task, tokenizer: null }),
      /^task\.tokenizer: expected a Tokenizer, got null/,
    ],
    ['task without a reward', withTask({ ...task, reward: 1 }), /^task\.reward: expected a function, got 1/],
    [
      'task without prompts',
      withTask({ ...task, training: [] }),
      /^task\.training: expected at least one item/,
    ],
    [
      'task with a hole',
      withTask({ ...task, training: new Array(2) }),
      /^task\.training\[0\]: expected \{ prompt, answer \}, got undefined/,
    ],
    [
      'task with a set',
      withTask({ ...task, evaluations: [null] }),
      /^task\.evaluations\[0\]: expected \{ name, items \}, got null/,
    ],
    [
      'task with a wrong item',
      withTask({ ...task, evaluations: [{ name: 'x', items: [{ prompt: 3 }] }] }),
      /^task\.evaluations\[0\]\.items\[0\]\.prompt: expected a string, got 3/,
    ],
  ])
})
