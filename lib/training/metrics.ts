// What a training step reports, and the names under which it is logged: those of TRL, so that existing dashboards read
// them, LUFFY's own under `luffy/` and `batch/`, times and rates under `perf/`.

/** One optimizer step, or one step of the loop around it. NaN: nothing to take the mean of. */
export interface StepMetrics {
  /** Number of the step, the first being 1. */
  step: number

  // Rewards, over the samples of this step.
  /** Mean reward of the on-policy samples: demonstrations would fake progress. */
  reward?: number
  /** Mean over groups of the standard deviation of the on-policy rewards. */
  rewardStd?: number
  /** Share of groups whose rewards, the demonstration's included, are all equal. */
  fracRewardZeroStd?: number
  /** Samples without a judgement. */
  rewardNulls?: number
  /** Rewards whose function threw or gave no finite number. */
  rewardFailures?: number
  /** Rewards by the reason that was given for them; `other` where they are too many to tell apart. */
  rewardReasons?: Record<string, number>
  /** Mean reward per reward function. */
  rewardMeans?: Record<string, number>
  /** Share of groups with all / some / none of the on-policy samples solved. */
  groupsSolvedAll?: number
  groupsSolvedSome?: number
  groupsSolvedNone?: number
  /** Mean reward of on-policy and of off-policy members. */
  onPolicySolved?: number
  offPolicySolved?: number

  // Completions, in tokens.
  completionLengthMean?: number
  completionLengthMin?: number
  completionLengthMax?: number
  /** Share of samples cut at the length limit. */
  completionClippedRatio?: number

  // The update.
  /** Policy loss, KL and entropy terms together. */
  loss?: number
  policyLoss?: number
  /** Mean entropy of the policy over unmasked tokens, in nats. */
  entropy?: number
  /** Mean k3 divergence to the reference policy. */
  kl?: number
  onPolicyLoss?: number
  offPolicyLoss?: number
  supervisedLoss?: number
  clipFraction?: number
  /** Mean of old minus new log-probability over on-policy tokens. */
  approxKl?: number
  /** Mean probability of off-policy tokens under the policy; of on-policy ones under that which sampled them, as the authors log it. */
  offPolicyProbability?: number
  onPolicyProbability?: number
  /** Mean off-policy ratio after shaping and cap. */
  offPolicyRatio?: number
  /** Demonstration tokens by p / (p + gamma), in 20 equal bins of [0, 1]. */
  demonstrationWeights?: readonly number[]
  /** On-policy tokens whose log-ratio met the clamp, off-policy tokens whose probability is 0 in float32. */
  ratioClamped?: number
  offPolicyUnderflow?: number
  /** Norm of the gradient before clipping. */
  gradNorm?: number
  learningRate?: number
  /** Optimizer updates of this step that were skipped for their gradient; 1 where it is one update. */
  skippedUpdates?: number
  /** Updates skipped because no member had an advantage. */
  noSignalUpdates?: number
  /** Demonstrations dropped because they are longer than the limit. */
  droppedDemonstrations?: number
  /** Groups left out because all of their rewards are equal (skipUniformGroups). */
  skippedGroups?: number

  // Amounts and times.
  /** Tokens trained on since the start of the run. */
  numTokens?: number
  onPolicyTokens?: number
  offPolicyTokens?: number
  supervisedTokens?: number
  /** Seconds of the whole step, and of its parts. */
  stepSeconds?: number
  rolloutSeconds?: number
  rewardSeconds?: number
  updateSeconds?: number
  /** Seconds of saving since the step before, and of an evaluation. */
  saveSeconds?: number
  evaluationSeconds?: number
  /** Tokens trained on per second of the whole step. */
  tokensPerSecond?: number
  /** Tokens sampled per second of sampling. */
  sampledTokensPerSecond?: number
  /** Completions of this step that completions/ has no room for. */
  unloggedCompletions?: number
  /** Live and largest bytes of the device. */
  liveBytes?: number
  peakBytes?: number
  /** Evaluation results: `accuracy/id` is logged as `eval_accuracy/id`. */
  evaluation?: Record<string, number>
}

type ScalarMetric = Exclude<
  keyof StepMetrics,
  'rewardMeans' | 'rewardReasons' | 'evaluation' | 'demonstrationWeights'
>

/** The logged name of `demonstrationWeights`. */
export const weightsName = 'luffy/off_weight_histogram'

// `satisfies` makes the compiler ask for a name when a metric is added.
const NAMES = {
  step: 'step',
  reward: 'reward',
  rewardStd: 'reward_std',
  fracRewardZeroStd: 'frac_reward_zero_std',
  rewardNulls: 'rewards/nulls',
  rewardFailures: 'rewards/failures',
  groupsSolvedAll: 'batch/solve_all',
  groupsSolvedSome: 'batch/solve_some',
  groupsSolvedNone: 'batch/solve_none',
  onPolicySolved: 'batch/on_solved',
  offPolicySolved: 'batch/off_solved',
  completionLengthMean: 'completions/mean_length',
  completionLengthMin: 'completions/min_length',
  completionLengthMax: 'completions/max_length',
  completionClippedRatio: 'completions/clipped_ratio',
  loss: 'loss',
  policyLoss: 'policy_loss',
  entropy: 'entropy',
  kl: 'kl',
  onPolicyLoss: 'luffy/on_pg_loss',
  offPolicyLoss: 'luffy/off_pg_loss',
  supervisedLoss: 'luffy/sft_loss',
  clipFraction: 'clip_ratio/region_mean',
  approxKl: 'luffy/approx_kl',
  offPolicyProbability: 'luffy/off_policy_prob',
  onPolicyProbability: 'luffy/on_policy_prob',
  offPolicyRatio: 'luffy/off_ratio_mean',
  ratioClamped: 'luffy/ratio_clamped',
  offPolicyUnderflow: 'luffy/off_p_underflow',
  gradNorm: 'grad_norm',
  learningRate: 'learning_rate',
  skippedUpdates: 'luffy/skipped_updates',
  noSignalUpdates: 'luffy/no_signal_updates',
  droppedDemonstrations: 'luffy/dropped_demonstrations',
  skippedGroups: 'batch/skipped_groups',
  numTokens: 'num_tokens',
  onPolicyTokens: 'luffy/on_policy_tokens',
  offPolicyTokens: 'luffy/off_policy_tokens',
  supervisedTokens: 'luffy/sft_tokens',
  stepSeconds: 'step_time',
  rolloutSeconds: 'perf/rollout_s',
  rewardSeconds: 'perf/reward_s',
  updateSeconds: 'perf/update_s',
  saveSeconds: 'perf/save_s',
  evaluationSeconds: 'perf/evaluation_s',
  tokensPerSecond: 'perf/tokens_per_second',
  sampledTokensPerSecond: 'perf/sampled_tokens_per_second',
  unloggedCompletions: 'completions/unlogged',
  liveBytes: 'perf/live_bytes',
  peakBytes: 'perf/peak_bytes',
} as const satisfies Record<ScalarMetric, string>

/** The logged name of a metric: `metricName('rewardStd')` is `reward_std`. */
export function metricName(metric: ScalarMetric): string {
  return NAMES[metric]
}

/** A row of metrics.jsonl: logged names, and null where a number is NaN or infinite (JSON has neither). */
export type MetricRecord = Record<string, number | null | readonly number[]>

/** The row of a step. Metrics that are undefined are left out. */
export function metricRecord(metrics: StepMetrics): MetricRecord {
  const record: MetricRecord = {}
  for (const [metric, name] of Object.entries(NAMES) as [ScalarMetric, string][]) {
    const value = metrics[metric]
    if (value !== undefined) record[name] = finiteOrNull(value)
  }
  if (metrics.demonstrationWeights !== undefined) record[weightsName] = metrics.demonstrationWeights
  for (const [name, value] of Object.entries(metrics.rewardMeans ?? {})) {
    record[`rewards/${name}/mean`] = finiteOrNull(value)
  }
  for (const [reason, count] of Object.entries(metrics.rewardReasons ?? {})) {
    record[`rewards/reason/${reason.replaceAll(' ', '_')}`] = count
  }
  for (const [name, value] of Object.entries(metrics.evaluation ?? {})) {
    record[`eval_${name}`] = finiteOrNull(value)
  }
  return record
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null
}
