// policy-objective: defaults, refusals, what crosses the border, the three reductions, and means from sums.
import test from 'ava'
import { ConfigError } from '../../lib/errors.js'
import {
  lossMetrics,
  metricSums,
  nativeObjective,
  type Objective,
  reductionKinds,
  resolveObjective,
  shapingKinds,
  supervisedWeights,
  tokenWeights,
} from '../../lib/ops/policy-objective.js'

test('defaults: no clip, regularized shaping with gamma 0.1, clamp 20, constant reduction', t => {
  t.deepEqual(resolveObjective(), {
    clip: undefined,
    dualClip: undefined,
    logRatioClamp: 20,
    shaping: { kind: 'regularized', gamma: 0.1, exponent: 1 },
    offPolicyCap: undefined,
    supervisedWeight: 'none',
    reduction: { kind: 'constant' },
    sftReduction: { kind: 'constant' },
    policyCoef: 1,
    sftCoef: 1,
    klCoef: 0,
    entropyCoef: 0,
  })
  t.deepEqual(resolveObjective({ reduction: { kind: 'token-mean' } }).sftReduction, { kind: 'token-mean' })
})

test('every option crosses the border', t => {
  const objective = resolveObjective({
    clip: { low: 0.2, high: 0.28 },
    dualClip: 3,
    logRatioClamp: 10,
    shaping: { kind: 'power', exponent: 0.5 },
    offPolicyCap: 2,
    supervisedWeight: 'uncertainty',
    klCoef: 0.1,
    entropyCoef: 0.06,
  })
  t.deepEqual(nativeObjective(objective, 3), {
    clipLow: 0.2,
    clipHigh: 0.28,
    dualClip: 3,
    logRatioClamp: 10,
    shaping: 3,
    gamma: 0.1,
    exponent: 0.5,
    offPolicyCap: 2,
    supervisedWeight: 2,
    klCoef: 0.1,
    entropyShare: 0.02,
  })
  t.deepEqual([...shapingKinds], ['none', 'regularized', 'sqrt', 'power'])
  t.deepEqual([...supervisedWeights], ['none', 'probability', 'uncertainty'])
  t.is(nativeObjective(resolveObjective({ entropyCoef: 1 }), 0).entropyShare, 1, 'no tokens')
  t.is(nativeObjective(resolveObjective({ clip: false }), 1).clipLow, 0)
})

test('what cannot be meant is refused by name', t => {
  const refused: [Objective, string][] = [
    [{ clip: { low: 1.5, high: 0.2 } }, 'objective.clip.low'],
    [{ clip: { low: 0.2, high: -1 } }, 'objective.clip.high'],
    [{ dualClip: 1 }, 'objective.dualClip'],
    [{ logRatioClamp: -1 }, 'objective.logRatioClamp'],
    [{ shaping: { kind: 'regularized', gamma: 0 } }, 'objective.shaping.gamma'],
    [{ shaping: { kind: 'power' } }, 'objective.shaping.exponent'],
    [{ offPolicyCap: 0 }, 'objective.offPolicyCap'],
    [{ klCoef: -1 }, 'objective.klCoef'],
    [{ entropyCoef: Number.NaN }, 'objective.entropyCoef'],
    [{ reduction: { kind: 'token-mean', divisor: 3 } }, 'objective.reduction.divisor'],
    [{ reduction: { kind: 'constant', divisor: 0 } }, 'objective.reduction.divisor'],
    [{ sftReduction: { kind: 'sequence-mean', divisor: 3 } }, 'objective.sftReduction.divisor'],
    [{ supervisedWeight: 'q' as 'none' }, 'objective.supervisedWeight'],
    [{ policyCoef: -1 }, 'objective.policyCoef'],
    [{ sftCoef: -1 }, 'objective.sftCoef'],
  ]
  for (const [objective, name] of refused) {
    const error = t.throws(() => resolveObjective(objective), { any: true }, name)
    t.true(error instanceof RangeError || error instanceof TypeError, name)
    t.true((error as Error).message.includes(name), (error as Error).message)
  }
  t.throws(() => resolveObjective({ clipp: false } as Objective), {
    instanceOf: ConfigError,
    message: /clip/,
  })
})

test('reductions: a token is worth its share, whatever the kind', t => {
  const sequences = [
    { length: 4, tokens: 4 },
    { length: 3, tokens: 1 },
    { length: 6, tokens: 0 },
  ]
  const expected: Record<(typeof reductionKinds)[number], number[]> = {
    constant: [1 / 18, 1 / 18, 1 / 18],
    'token-mean': [1 / 5, 1 / 5, 1 / 5],
    'sequence-mean': [1 / 8, 1 / 2, 1 / 2],
  }
  for (const kind of reductionKinds)
    t.deepEqual(Array.from(tokenWeights({ kind }, sequences)), expected[kind], kind)
  t.deepEqual(Array.from(tokenWeights({ kind: 'constant', divisor: 10 }, sequences)), [0.1, 0.1, 0.1])
  for (const kind of reductionKinds) {
    t.true(
      tokenWeights({ kind }, [{ length: 0, tokens: 0 }]).every(Number.isFinite),
      `${kind}: nothing to learn from`,
    )
    t.is(tokenWeights({ kind }, []).length, 0)
  }
})

test('means from sums: each by its own count, 0 where nothing was counted', t => {
  const sums = Float64Array.from(metricSums, (_, i) => i + 1)
  const named = Object.fromEntries(metricSums.map((name, i) => [name, sums[i]!])) as Record<
    (typeof metricSums)[number],
    number
  >
  const metrics = lossMetrics(sums, resolveObjective({ entropyCoef: 0.5 }))
  t.is(metrics.policyLoss, named.policyLoss)
  t.is(metrics.entropy, named.entropy / named.tokens)
  t.is(metrics.loss, named.policyLoss - (0.5 * named.entropy) / named.tokens)
  t.is(metrics.onPolicyLoss, named.onPolicyLoss / named.onPolicyTokens)
  t.is(metrics.offPolicyRatio, named.offPolicyRatio / named.offPolicyTokens)
  t.is(metrics.supervisedLoss, named.supervisedLoss / named.supervisedTokens)
  t.is(metrics.clipFraction, named.clipped / named.onPolicyTokens)
  t.is(metrics.kl, named.referenceKl / named.tokens)
  t.is(metrics.nonFinite, named.nonFinite)
  const nothing = lossMetrics(new Float64Array(metricSums.length), resolveObjective())
  t.true(Object.values(nothing).every(x => Object.is(x + 0, 0)))
})
