import test from 'ava'
import { metricName, metricRecord } from '../../lib/training/metrics.js'

test('metrics are logged under the names that dashboards of TRL and of LUFFY know', t => {
  const names = {
    reward: 'reward',
    rewardStd: 'reward_std',
    fracRewardZeroStd: 'frac_reward_zero_std',
    completionLengthMean: 'completions/mean_length',
    completionClippedRatio: 'completions/clipped_ratio',
    entropy: 'entropy',
    kl: 'kl',
    gradNorm: 'grad_norm',
    learningRate: 'learning_rate',
    numTokens: 'num_tokens',
    stepSeconds: 'step_time',
    offPolicyProbability: 'luffy/off_policy_prob',
    onPolicyProbability: 'luffy/on_policy_prob',
    offPolicyRatio: 'luffy/off_ratio_mean',
    offPolicyLoss: 'luffy/off_pg_loss',
    onPolicyLoss: 'luffy/on_pg_loss',
    groupsSolvedAll: 'batch/solve_all',
    groupsSolvedNone: 'batch/solve_none',
    onPolicySolved: 'batch/on_solved',
    offPolicySolved: 'batch/off_solved',
    tokensPerSecond: 'perf/tokens_per_second',
    rolloutSeconds: 'perf/rollout_s',
    peakBytes: 'perf/peak_bytes',
  } as const
  for (const [metric, name] of Object.entries(names)) t.is(metricName(metric as keyof typeof names), name)
})

test('a row holds what was measured, and null where a number is not finite', t => {
  const record = metricRecord({
    step: 3,
    reward: 0.25,
    entropy: Number.NaN,
    kl: undefined as unknown as number,
    gradNorm: Number.POSITIVE_INFINITY,
    rewardMeans: { opChains: 0.25, length: Number.NaN },
    evaluation: { 'accuracy/id': 0.5 },
  })
  t.deepEqual(record, {
    step: 3,
    reward: 0.25,
    entropy: null,
    grad_norm: null,
    'rewards/opChains/mean': 0.25,
    'rewards/length/mean': null,
    'eval_accuracy/id': 0.5,
  })
  t.deepEqual(JSON.parse(JSON.stringify(record)), record)
})

const isRecord = (name: PropertyKey) => ['rewardMeans', 'rewardReasons', 'evaluation'].includes(String(name))

test('no two metrics share a name', t => {
  // Every name that metricRecord can write, from a step where everything was measured.
  const everything = metricRecord(new Proxy({ step: 1 }, { get: (_, name) => (isRecord(name) ? {} : 1) }))
  const names = Object.keys(everything)
  t.true(names.length >= 40)
  const metrics = new Set<string>()
  metricRecord(
    new Proxy(
      { step: 1 },
      {
        get: (_, name) => {
          if (isRecord(name)) return {}
          metrics.add(String(name))
          return 1
        },
      },
    ),
  )
  t.is(names.length, metrics.size)
})
