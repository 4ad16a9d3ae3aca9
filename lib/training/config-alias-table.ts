// The table of config-aliases.ts: names of TRL and of verl, in the order of luffy's own options.
import { describeValue } from '../options.js'

/** What a name stands for. `convert` throws an Error that says what was expected. */
export type Alias =
  | { to: string; convert?: (value: unknown) => unknown }
  /** A part of an option that several names make up. */
  | { part: string; convert?: (value: unknown) => unknown }
  /** What luffy always does: these values and no others. */
  | { only: readonly unknown[]; because: string }
  /** A choice of engine, which does not change what is computed. */
  | { ignored: true }
  /** What luffy does not have, with what to do instead. */
  | { absent: string }

/** Groups of options at the top of a verl configuration. */
export const aliasRoots: ReadonlySet<string> = new Set([
  'actor_rollout_ref',
  'algorithm',
  'custom_reward_function',
  'data',
  'filter_groups',
  'optim',
  'rollout',
  'trainer',
])

/** What may stand before a name of the table in a whole verl configuration. */
export const aliasPrefixes: readonly string[] = [
  'actor_rollout_ref.actor.',
  'actor_rollout_ref.model.',
  'actor_rollout_ref.rollout.',
  'actor_rollout_ref.',
  'algorithm.',
  'data.',
  'optim.',
  'actor_rollout_ref.actor.optim.',
  'rollout.',
  'trainer.',
]

/** A word of another tool as luffy's; others are refused with those that are known. */
const words = (table: Record<string, unknown>) => (value: unknown) => {
  const word = typeof value === 'boolean' ? String(value) : value
  if (typeof word === 'string' && Object.hasOwn(table, word)) return table[word]
  throw new Error(`expected ${Object.keys(table).join(', ')}, got ${describeValue(value)}`)
}

/** A number that stands for another one: -1 for off. */
const instead = (from: number, to: unknown) => (value: unknown) => (value === from ? to : value)

function shaping(value: unknown): unknown {
  const regularized = typeof value === 'string' ? /^p_div_p_(\d*\.?\d+)$/.exec(value)?.[1] : undefined
  if (regularized !== undefined) return { kind: 'regularized', gamma: Number(regularized) }
  return words({ no_reshape: { kind: 'none' }, square_root: { kind: 'sqrt' }, 'p_div_p_0.1': {} })(value)
}

const ownTask = 'a task of your own is passed to train(config, { task })'
const dataFiles = 'data.train takes files'
const wholeDemonstrations = 'give prefix.fraction'
const noReference = 'train() has no reference policy'
const noHub = 'copy the checkpoint folder, which Hugging Face tools read'
const ownLogs = 'metrics.jsonl is always written, and nothing else'
const newPath = 'set outputDir and runName to those of the run'

export const aliases: Readonly<Record<string, Alias>> = {
  model_name_or_path: { to: 'model' },
  'model.path': { to: 'model' },
  dataset_name: { absent: dataFiles },
  dataset_train_split: { absent: dataFiles },
  train_files: { to: 'data.train' },
  val_files: { to: 'data.eval' },
  prompt_key: { to: 'data.columns.prompt' },
  max_prompt_length: { to: 'data.maxPromptLength' },
  output_dir: { to: 'outputDir' },
  default_local_dir: { to: 'outputDir' },
  run_name: { to: 'runName' },
  experiment_name: { to: 'runName' },
  max_steps: { to: 'maxSteps' },
  total_training_steps: { to: 'maxSteps' },
  num_train_epochs: { absent: 'give maxSteps' },
  total_epochs: { absent: 'give maxSteps' },

  // Groups. Batch sizes of TRL count completions, those of verl prompts.
  max_completion_length: { to: 'maxCompletionLength' },
  max_response_length: { to: 'maxCompletionLength' },
  num_generations: { to: 'numGenerations' },
  'rollout.n': { to: 'numGenerations' },
  n_prefix: { to: 'demonstrationsPerPrompt' },
  min_prefix_ratio: { only: [1], because: wholeDemonstrations },
  max_prefix_ratio: { only: [1], because: wholeDemonstrations },
  prefix_strategy: { ignored: true },
  per_device_train_batch_size: { part: 'batch.device' },
  gradient_accumulation_steps: { part: 'batch.accumulation' },
  train_batch_size: { to: 'promptsPerStep' },
  ppo_mini_batch_size: { to: 'promptsPerUpdate' },
  num_iterations: { only: [1], because: 'each step trains once on its samples' },
  ppo_epochs: { only: [1], because: 'each step trains once on its samples' },
  top_p: { to: 'topP' },
  top_k: { to: 'topK', convert: instead(-1, 0) },
  min_p: { to: 'minP' },
  'rollout.temperature': { to: 'temperature' },
  repetition_penalty: { only: [1], because: 'the sampler has no repetition penalty' },
  mask_truncated_completions: { to: 'maskTruncated' },
  filter_groups: { to: 'skipUniformGroups' },
  'filter_groups.enable': { to: 'skipUniformGroups' },
  use_vllm: { ignored: true },
  'rollout.name': { ignored: true },
  gpu_memory_utilization: { ignored: true },

  // Optimizer.
  learning_rate: { to: 'learningRate' },
  'optim.lr': { to: 'learningRate' },
  lr_scheduler_type: {
    to: 'lrSchedule',
    convert: words({
      constant: 'constant',
      constant_with_warmup: 'constant',
      linear: 'linear',
      cosine: 'cosine',
    }),
  },
  warmup_steps: { to: 'warmupSteps' },
  // verl's -1 leaves it to the ratio.
  lr_warmup_steps: { to: 'warmupSteps', convert: instead(-1, undefined) },
  warmup_ratio: { part: 'warmup.ratio' },
  lr_warmup_steps_ratio: { part: 'warmup.ratio' },
  weight_decay: { to: 'weightDecay' },
  adam_beta1: { part: 'betas.0' },
  adam_beta2: { part: 'betas.1' },
  betas: { to: 'adamBetas' },
  max_grad_norm: { to: 'maxGradNorm' },
  clip_grad: { to: 'maxGradNorm' },
  grad_clip: { to: 'maxGradNorm' },

  // Objective and advantages.
  off_policy_reshape: { to: 'objective.shaping', convert: shaping },
  loss_remove_clip: { part: 'clip.off', convert: words({ true: true, false: false }) },
  epsilon: { part: 'clip.low' },
  clip_ratio_low: { part: 'clip.low' },
  epsilon_high: { part: 'clip.high' },
  clip_ratio_high: { part: 'clip.high' },
  delta: { to: 'objective.dualClip' },
  clip_ratio_c: { to: 'objective.dualClip' },
  loss_type: {
    to: 'objective.reduction',
    convert: words({
      grpo: { kind: 'sequence-mean' },
      bnpo: { kind: 'token-mean' },
      dapo: { kind: 'token-mean' },
      dr_grpo: { kind: 'constant' },
    }),
  },
  loss_agg_mode: {
    to: 'objective.reduction',
    convert: words({
      'token-mean': { kind: 'token-mean' },
      'seq-mean-token-mean': { kind: 'sequence-mean' },
      'seq-mean-token-sum-norm': { kind: 'constant' },
    }),
  },
  loss_remove_token_mean: {
    to: 'objective.reduction',
    convert: words({ true: { kind: 'constant' }, false: { kind: 'token-mean' } }),
  },
  scale_rewards: {
    part: 'baseline.std',
    convert: words({ true: true, group: true, false: false, none: false }),
  },
  norm_adv_by_std_in_grpo: { part: 'baseline.std', convert: words({ true: true, false: false }) },
  grpo_use_std: { part: 'baseline.std', convert: words({ true: true, false: false }) },
  adv_estimator: { part: 'baseline.split', convert: words({ grpo: false, grpo_split: true }) },
  beta: { only: [0], because: noReference },
  kl_loss_coef: { only: [0], because: noReference },
  use_kl_loss: { only: [false], because: noReference },
  entropy_coef: { to: 'objective.entropyCoef' },
  entropy_coeff: { to: 'objective.entropyCoef' },

  // Evaluation, saving, logs.
  val_temperature: { to: 'evalTemperature' },
  'val_kwargs.temperature': { to: 'evalTemperature' },
  n_val: { only: [1], because: 'evaluations sample once per prompt' },
  'val_kwargs.n': { only: [1], because: 'evaluations sample once per prompt' },
  eval_steps: { to: 'evalSteps' },
  test_freq: { to: 'evalSteps', convert: instead(-1, 0) },
  save_steps: { to: 'saveSteps' },
  save_freq: { to: 'saveSteps', convert: instead(-1, Number.MAX_SAFE_INTEGER) },
  save_total_limit: { to: 'saveTotalLimit' },
  max_actor_ckpt_to_keep: { to: 'saveTotalLimit' },
  log_completions: { to: 'logCompletions' },
  num_completions_to_print: { ignored: true },
  log_val_generations: { ignored: true },
  rollout_data_dir: { absent: 'samples are written to completions/ in the run folder' },
  logging_steps: { only: [1], because: 'every step is logged' },
  report_to: { only: ['jsonl', 'none'], because: ownLogs },
  logger: { only: ['jsonl', 'console'], because: ownLogs },
  resume_from_checkpoint: { to: 'resume', convert: words({ true: 'auto', false: 'never' }) },
  resume_mode: { to: 'resume', convert: words({ auto: 'auto', disable: 'never' }) },
  resume_from_path: { absent: newPath },
  push_to_hub: { only: [false], because: noHub },
  hub_model_id: { absent: noHub },
  hub_strategy: { absent: noHub },
  reward_funcs: { absent: ownTask },
  reward_weights: { absent: ownTask },
  'custom_reward_function.path': { absent: ownTask },
  'custom_reward_function.name': { absent: ownTask },

  // Machine.
  bf16: { to: 'dtype', convert: words({ true: 'bfloat16', false: 'float32' }) },
  gradient_checkpointing: { to: 'gradientCheckpointing' },
  enable_gradient_checkpointing: { to: 'gradientCheckpointing' },
  ppo_max_token_len_per_gpu: { to: 'maxTokensPerMicroBatch' },
}
