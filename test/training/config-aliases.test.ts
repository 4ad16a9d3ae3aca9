// Names of TRL and verl in a configuration: every row of the table of names, written here a second time by hand.
import test from 'ava'
import { ConfigError } from '../../lib/index.js'
import { aliases } from '../../lib/training/config-alias-table.js'
import { readTrainConfig, resolveTrainConfig, type TrainConfig } from '../../lib/training/train-config.js'

type Row = readonly [names: string, value: unknown, ours: Partial<TrainConfig>]

// Several names of one row, TRL's before verl's, with a value and the options it stands for.
const renamed: readonly Row[] = [
  ['model_name_or_path actor_rollout_ref.model.path', 'm2', { model: 'm2' }],
  ['max_completion_length max_response_length data.max_response_length', 99, { maxCompletionLength: 99 }],
  ['num_generations rollout.n actor_rollout_ref.rollout.n', 4, { numGenerations: 4 }],
  ['rollout.n_prefix actor_rollout_ref.rollout.n_prefix', 0, { demonstrationsPerPrompt: 0 }],
  [
    'off_policy_reshape actor_rollout_ref.actor.off_policy_reshape',
    'p_div_p_0.1',
    { objective: { shaping: { kind: 'regularized', gamma: 0.1 } } },
  ],
  ['off_policy_reshape', 'p_div_p_0.5', { objective: { shaping: { kind: 'regularized', gamma: 0.5 } } }],
  ['off_policy_reshape', 'no_reshape', { objective: { shaping: { kind: 'none' } } }],
  ['off_policy_reshape', 'square_root', { objective: { shaping: { kind: 'sqrt' } } }],
  ['loss_remove_clip actor_rollout_ref.actor.loss_remove_clip', true, { objective: { clip: false } }],
  ['loss_remove_clip', false, { objective: { clip: { low: 0.2, high: 0.2 } } }],
  ['epsilon clip_ratio_low', 0.1, { objective: { clip: { low: 0.1, high: 0.1 } } }],
  ['epsilon_high clip_ratio_high', 0.3, { objective: { clip: { low: 0.2, high: 0.3 } } }],
  ['delta clip_ratio_c actor_rollout_ref.actor.clip_ratio_c', 3, { objective: { dualClip: 3 } }],
  ['loss_type', 'grpo', { objective: { reduction: { kind: 'sequence-mean' } } }],
  ['loss_type', 'bnpo', { objective: { reduction: { kind: 'token-mean' } } }],
  ['loss_type', 'dapo', { objective: { reduction: { kind: 'token-mean' } } }],
  ['loss_type', 'dr_grpo', { objective: { reduction: { kind: 'constant' } } }],
  ['loss_agg_mode', 'token-mean', { objective: { reduction: { kind: 'token-mean' } } }],
  ['loss_agg_mode', 'seq-mean-token-mean', { objective: { reduction: { kind: 'sequence-mean' } } }],
  ['loss_agg_mode', 'seq-mean-token-sum-norm', { objective: { reduction: { kind: 'constant' } } }],
  ['loss_remove_token_mean', true, { objective: { reduction: { kind: 'constant' } } }],
  ['loss_remove_token_mean', false, { objective: { reduction: { kind: 'token-mean' } } }],
  [
    'scale_rewards norm_adv_by_std_in_grpo algorithm.norm_adv_by_std_in_grpo grpo_use_std algorithm.grpo_use_std',
    true,
    { advantages: { baseline: 'mean-std' } },
  ],
  ['scale_rewards norm_adv_by_std_in_grpo grpo_use_std', false, { advantages: { baseline: 'mean' } }],
  ['scale_rewards', 'group', { advantages: { baseline: 'mean-std' } }],
  ['scale_rewards', 'none', { advantages: { baseline: 'mean' } }],
  ['adv_estimator algorithm.adv_estimator', 'grpo', { advantages: { baseline: 'mean' } }],
  ['adv_estimator algorithm.adv_estimator', 'grpo_split', { advantages: { baseline: 'on-policy-mean' } }],
  [
    'entropy_coef entropy_coeff actor_rollout_ref.actor.entropy_coeff',
    0.002,
    { objective: { entropyCoef: 0.002 } },
  ],
  ['train_batch_size data.train_batch_size', 32, { promptsPerStep: 32 }],
  ['ppo_mini_batch_size actor_rollout_ref.actor.ppo_mini_batch_size', 4, { promptsPerUpdate: 4 }],
  ['per_device_train_batch_size', 64, { promptsPerStep: 8, promptsPerUpdate: 8 }],
  ['gradient_accumulation_steps', 4, { promptsPerStep: 4, promptsPerUpdate: 4 }],
  ['ppo_max_token_len_per_gpu', 5000, { maxTokensPerMicroBatch: 5000 }],
  ['learning_rate optim.lr actor_rollout_ref.actor.optim.lr', 3e-6, { learningRate: 3e-6 }],
  ['lr_scheduler_type', 'cosine', { lrSchedule: 'cosine' }],
  ['lr_scheduler_type', 'constant_with_warmup', { lrSchedule: 'constant' }],
  ['warmup_steps lr_warmup_steps actor_rollout_ref.actor.optim.lr_warmup_steps', 7, { warmupSteps: 7 }],
  ['warmup_ratio lr_warmup_steps_ratio optim.lr_warmup_steps_ratio', 0.125, { warmupSteps: 13 }],
  ['lr_warmup_steps', -1, {}],
  ['weight_decay optim.weight_decay', 0.3, { weightDecay: 0.3 }],
  ['betas optim.betas', [0.8, 0.99], { adamBetas: [0.8, 0.99] }],
  ['adam_beta1', 0.8, { adamBetas: [0.8, 0.999] }],
  ['adam_beta2', 0.99, { adamBetas: [0.9, 0.99] }],
  [
    'max_grad_norm clip_grad optim.clip_grad grad_clip actor_rollout_ref.actor.grad_clip',
    0.5,
    { maxGradNorm: 0.5 },
  ],
  ['rollout.temperature actor_rollout_ref.rollout.temperature', 0.7, { temperature: 0.7 }],
  ['top_p rollout.top_p', 0.9, { topP: 0.9 }],
  ['top_k rollout.top_k', 20, { topK: 20 }],
  ['top_k actor_rollout_ref.rollout.top_k', -1, { topK: 0 }],
  ['min_p', 0.1, { minP: 0.1 }],
  ['rollout.val_temperature actor_rollout_ref.rollout.val_kwargs.temperature', 0.2, { evalTemperature: 0.2 }],
  ['bf16', true, { dtype: 'bfloat16' }],
  ['bf16', false, { dtype: 'float32' }],
  ['gradient_checkpointing enable_gradient_checkpointing', true, { gradientCheckpointing: true }],
  ['actor_rollout_ref.model.enable_gradient_checkpointing', true, { gradientCheckpointing: true }],
  ['max_steps total_training_steps trainer.total_training_steps', 500, { maxSteps: 500 }],
  ['save_steps save_freq trainer.save_freq', 10, { saveSteps: 10 }],
  ['save_freq', -1, { saveSteps: Number.MAX_SAFE_INTEGER }],
  ['eval_steps test_freq trainer.test_freq', 20, { evalSteps: 20 }],
  ['test_freq', -1, { evalSteps: 0 }],
  ['save_total_limit max_actor_ckpt_to_keep trainer.max_actor_ckpt_to_keep', 5, { saveTotalLimit: 5 }],
  ['output_dir default_local_dir trainer.default_local_dir', 'o', { outputDir: 'o' }],
  ['run_name experiment_name trainer.experiment_name', 'r', { runName: 'r' }],
  ['resume_from_checkpoint', true, { resume: 'auto' }],
  ['resume_from_checkpoint', false, { resume: 'never' }],
  ['resume_mode trainer.resume_mode', 'auto', { resume: 'auto' }],
  ['resume_mode', 'disable', { resume: 'never' }],
  ['log_completions', false, { logCompletions: false }],
  ['filter_groups algorithm.filter_groups.enable', true, { skipUniformGroups: true }],
  ['mask_truncated_completions', true, { maskTruncated: true }],
]

/** Accepted with this value, which is what luffy does anyway, and refused with the other one. */
const fixed: readonly (readonly [names: string, accepted: unknown, refused: unknown])[] = [
  ['min_prefix_ratio max_prefix_ratio rollout.min_prefix_ratio rollout.max_prefix_ratio', 1, 0.5],
  ['beta kl_loss_coef actor_rollout_ref.actor.kl_loss_coef', 0, 0.04],
  ['use_kl_loss', false, true],
  ['num_iterations ppo_epochs', 1, 2],
  ['repetition_penalty', 1, 1.1],
  ['n_val rollout.n_val actor_rollout_ref.rollout.val_kwargs.n', 1, 16],
  ['logging_steps', 1, 10],
  ['report_to', 'none', 'wandb'],
  ['report_to', ['jsonl'], ['jsonl', 'wandb']],
  ['logger trainer.logger', ['console'], ['console', 'wandb']],
  ['push_to_hub', false, true],
]

const ignored = [
  'prefix_strategy',
  'rollout.prefix_strategy',
  'use_vllm',
  'vllm_gpu_memory_utilization',
  'rollout.name',
  'actor_rollout_ref.rollout.gpu_memory_utilization',
  'num_completions_to_print',
  'log_val_generations',
]

const absent = [
  'dataset_name',
  'dataset_train_split',
  'num_train_epochs',
  'total_epochs',
  'trainer.total_epochs',
  'resume_from_path',
  'hub_model_id',
  'hub_strategy',
  'reward_funcs',
  'reward_weights',
  'custom_reward_function.path',
  'custom_reward_function.name',
  'trainer.rollout_data_dir',
]

/** Dotted names as nested objects. */
function nested(name: string, value: unknown): Record<string, unknown> {
  return name
    .split('.')
    .reverse()
    .reduce((inner: unknown, key) => ({ [key]: inner }), value) as Record<string, unknown>
}

const withModel = (name: string, options: object) =>
  name.includes('model_name') || name.includes('model.path') ? options : { model: 'm', ...options }

function mistakesOf(config: unknown): string[] {
  try {
    readTrainConfig(config)
    return []
  } catch (error) {
    if (!ConfigError.isInstance(error)) throw error
    return error.details?.mistakes as string[]
  }
}

test('every name stands for its option, alone, nested and dotted, with one line that says so', t => {
  for (const [names, value, ours] of renamed) {
    const expected = resolveTrainConfig({ model: 'm', ...ours })
    for (const name of names.split(' ')) {
      for (const given of [nested(name, value), { [name]: value }]) {
        const input = withModel(name, given)
        const before = JSON.stringify(input)
        const { config, notices } = readTrainConfig(input)
        t.deepEqual(config, expected, `${name}: ${JSON.stringify(value)}`)
        t.is(JSON.stringify(input), before, `${name}: the caller's object is not changed`)
        if (value === -1 && Object.keys(ours).length === 0) continue
        t.is(notices.length, 1, name)
        t.true(notices[0]?.includes(`${name} is `), `${name}: ${notices[0]}`)
        t.false(notices[0]?.includes('\n'))
      }
    }
  }
})

// With files alone: tested in a group of their own.
const ofFiles = ['train_files', 'val_files', 'prompt_key', 'max_prompt_length']

test('the data group of verl and that of luffy are one', t => {
  const expected = resolveTrainConfig({
    model: 'm',
    promptsPerStep: 32,
    data: {
      train: ['a.parquet'],
      eval: 'b.parquet',
      columns: { prompt: 'question' },
      maxPromptLength: 99,
      strict: true,
    },
  })
  const verl = {
    train_files: ['a.parquet'],
    val_files: 'b.parquet',
    prompt_key: 'question',
    max_prompt_length: 99,
  }
  const nestedData = { ...verl, strict: true, train_batch_size: 32 }
  t.deepEqual(readTrainConfig({ model: 'm', data: nestedData }).config, expected)
  t.deepEqual(
    readTrainConfig({ model: 'm', data: { strict: true }, train_batch_size: 32, ...verl }).config,
    expected,
  )
  t.deepEqual(mistakesOf({ model: 'm', data: { train: 'a', train_files: 'b' } }), [
    'data.train_files: is another name of data.train, which is given as well',
  ])
  t.deepEqual(mistakesOf({ model: 'm', data: { trian: 'a', train: 'b' } }), [
    'unknown option "data.trian", did you mean "train"?',
  ])
})

test('what luffy always does is accepted with that value alone', t => {
  for (const [names, accepted, refused] of fixed) {
    for (const name of names.split(' ')) {
      const { config, notices } = readTrainConfig({ model: 'm', ...nested(name, accepted) })
      t.deepEqual(config, resolveTrainConfig({ model: 'm' }), name)
      t.deepEqual(notices, [`configuration: without effect here: ${name}`])
      const [mistake, ...more] = mistakesOf({ model: 'm', ...nested(name, refused) })
      t.true(mistake?.startsWith(`${name}: expected `), `${name}: ${mistake}`)
      t.regex(mistake ?? '', /\(.+\), got /)
      t.deepEqual(more, [])
    }
  }
})

test('choices of engine are passed over, what is not there is refused with what to do instead', t => {
  for (const name of ignored) {
    const { config, notices } = readTrainConfig({ model: 'm', ...nested(name, 'anything') })
    t.deepEqual(config, resolveTrainConfig({ model: 'm' }), name)
    t.deepEqual(notices, [`configuration: without effect here: ${name}`])
  }
  for (const name of absent) {
    const [mistake] = mistakesOf({ model: 'm', ...nested(name, 'x') })
    t.regex(mistake ?? '', /^[\w.]+: luffy has no such option; .{8,}/, name)
    t.true(mistake?.startsWith(`${name}: `))
    t.deepEqual(mistakesOf({ model: 'm', ...nested(name, null) }), [], `${name}: null is not given`)
  }
})

test('this page knows every name of the table', t => {
  const here = [
    ...renamed.map(([names]) => names),
    ...fixed.map(([names]) => names),
    ...ignored,
    ...absent,
    ...ofFiles,
  ]
    .flatMap(names => names.split(' '))
    .join(' ')
  const missing = Object.keys(aliases).filter(
    name => !` ${here} `.replaceAll('.', ' ').includes(name.replaceAll('.', ' ')),
  )
  t.deepEqual(missing, [])
  t.true(Object.keys(aliases).length >= 90)
})

test('two names of one option are refused, whoever uses them', t => {
  const conflicts: readonly (readonly [object, RegExp])[] = [
    [
      { numGenerations: 8, num_generations: 8 },
      /^num_generations: is another name of numGenerations, which is given as well$/,
    ],
    [{ num_generations: 8, rollout: { n: 8 } }, /^rollout\.n: is another name of num_generations, /],
    [
      { rollout: { n: 8 }, actor_rollout_ref: { rollout: { n: 8 } } },
      /^actor_rollout_ref\.rollout\.n: is another name of rollout\.n, /,
    ],
    [{ epsilon: 0.1, clip_ratio_low: 0.1 }, /^clip_ratio_low: is another name of epsilon, /],
    [{ epsilon: 0.1, objective: { clip: false } }, /^epsilon: is another name of objective\.clip, /],
    [
      { entropy_coef: 0.1, objective: { entropyCoef: 0.1 } },
      /^entropy_coef: is another name of objective\.entropyCoef, /,
    ],
    [{ adam_beta1: 0.1, betas: [0.9, 0.9] }, /^adam_beta1: is another name of betas, /],
    [{ warmup_steps: 3, warmup_ratio: 0.1 }, /^warmup_ratio: is another name of warmup_steps, /],
    [
      { per_device_train_batch_size: 8, promptsPerStep: 1 },
      /^per_device_train_batch_size: is another name of promptsPerStep, /,
    ],
    [{ loss_type: 'dapo', loss_agg_mode: 'token-mean' }, /^loss_agg_mode: is another name of loss_type, /],
    [{ max_steps: 5, maxSteps: 5 }, /^max_steps: is another name of maxSteps, /],
  ]
  for (const [config, message] of conflicts) {
    const mistakes = mistakesOf({ model: 'm', ...config })
    t.is(mistakes.length, 1, mistakes.join('; '))
    t.regex(mistakes[0] ?? '', message)
  }
})

test('several names make one option up', t => {
  const of = (config: object) => readTrainConfig({ model: 'm', ...config }).config
  t.deepEqual(of({ epsilon: 0.1, epsilon_high: 0.3 }).objective.clip, { low: 0.1, high: 0.3 })
  t.deepEqual(of({ epsilon: 0.1, epsilon_high: null }).objective.clip, { low: 0.1, high: 0.1 })
  t.is(of({ clip_ratio_low: 0.1, clip_ratio_high: 0.3, loss_remove_clip: true }).objective.clip, false)
  t.deepEqual(of({ adam_beta1: 0.8, adam_beta2: 0.9 }).adamBetas, [0.8, 0.9])
  t.is(of({ adv_estimator: 'grpo_split', scale_rewards: true }).advantages.baseline, 'on-policy-mean-std')
  t.is(of({ adv_estimator: 'grpo_split', method: 'grpo' }).advantages.baseline, 'on-policy-mean-std')
  t.like(of({ per_device_train_batch_size: 4, gradient_accumulation_steps: 6, num_generations: 3 }), {
    promptsPerStep: 8,
    promptsPerUpdate: 8,
    numGenerations: 3,
  })
  t.regex(
    mistakesOf({ model: 'm', per_device_train_batch_size: 12 })[0] ?? '',
    /expected a multiple of numGenerations \(8\)/,
  )
  t.is(of({ warmup_ratio: 0.1, max_steps: 33 }).warmupSteps, 4)
})

test('values that do not fit are named by the name that was given', t => {
  t.deepEqual(mistakesOf({ model: 'm', loss_type: 'sapo' }), [
    'loss_type: expected grpo, bnpo, dapo, dr_grpo, got "sapo"',
  ])
  t.regex(
    mistakesOf({ model: 'm', off_policy_reshape: 'cube' })[0] ?? '',
    /^off_policy_reshape: expected no_reshape/,
  )
  t.regex(
    mistakesOf({ model: 'm', warmup_ratio: 3 })[0] ?? '',
    /^warmup_ratio: expected a number from 0 to 1, got 3/,
  )
  t.regex(mistakesOf({ model: 'm', num_generations: 'x' })[0] ?? '', /^numGenerations: /)
  t.deepEqual(mistakesOf({ model: 'm', trainer: { save_frq: 1 } }), [
    'unknown option "trainer.save_frq", did you mean "save_freq"?',
  ])
})
