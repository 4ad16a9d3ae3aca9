// Cases of policy-loss, and the float64 reference of the token objective that the fused losses use too. Derivatives are
// carried along with values (dual numbers), so that none is written down a second time as the kernel has it.
import type { NativePolicyObjective } from '../../lib/native.js'
import { metricSums, TokenKind } from '../../lib/ops/policy-objective.js'
import type { CounterRandom } from '../../lib/random.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import { dataOf, float32, type HostTensors, type OpCase, uint8 } from './case.js'

/** Everything off: LUFFY's p / p_detached and plain off-policy ratios. */
export const plainObjective: NativePolicyObjective = {
  clipLow: 0,
  clipHigh: 0,
  dualClip: 0,
  logRatioClamp: 0,
  shaping: 0,
  gamma: 0.1,
  exponent: 1,
  offPolicyCap: 0,
  supervisedWeight: 0,
  klCoef: 0,
  entropyShare: 0,
}

export const shapings = { none: 0, regularized: 1, sqrt: 2, power: 3 } as const

type Dual = readonly [value: number, derivative: number]
const constant = (x: number): Dual => [x, 0]
const scale = ([v, d]: Dual, k: number): Dual => [v * k, d * k]
const plus = ([v, d]: Dual, [w, e]: Dual): Dual => [v + w, d + e]
const divide = ([v, d]: Dual, [w, e]: Dual): Dual => [v / w, (d * w - v * e) / (w * w)]
const exp = ([v, d]: Dual): Dual => [Math.exp(v), Math.exp(v) * d]
const larger = (a: Dual, b: Dual): Dual => (b[0] > a[0] ? b : a)
const smaller = (a: Dual, b: Dual): Dual => (b[0] < a[0] ? b : a)
const within = (a: Dual, low: number, high: number): Dual => larger(smaller(a, constant(high)), constant(low))

export interface Token {
  kind: number
  logProb: number
  old: number | undefined
  advantage: number
  weight: number
  reference: number | undefined
  teacher: number | undefined
}

/** Loss and derivative of a token; what it counts for goes to `sums`, by name. */
export function tokenReference(o: NativePolicyObjective, token: Token, sums: Record<string, number>): Dual {
  if (token.kind === TokenKind.masked) return constant(0)
  const add = (name: (typeof metricSums)[number], x: number) => {
    sums[name] = (sums[name] ?? 0) + x
  }
  const { logProb, advantage } = token
  const current: Dual = [logProb, 1]
  let loss: Dual
  add('tokens', 1)
  if (token.kind === TokenKind.onPolicy) {
    const old = token.old === undefined || Number.isNaN(token.old) ? logProb : token.old
    let logRatio = plus(current, constant(-old))
    if (o.logRatioClamp > 0) {
      if (Math.abs(logProb - old) > o.logRatioClamp) add('ratioClamped', 1)
      logRatio = within(logRatio, -o.logRatioClamp, o.logRatioClamp)
    }
    const ratio = exp(logRatio)
    loss = scale(ratio, -advantage)
    if (o.clipLow > 0 || o.clipHigh > 0) {
      const clipped = scale(within(ratio, 1 - o.clipLow, 1 + o.clipHigh), -advantage)
      if (clipped[0] > loss[0]) add('clipped', 1)
      loss = larger(loss, clipped)
    }
    if (o.dualClip > 0 && advantage < 0) loss = smaller(loss, constant(-advantage * o.dualClip))
    add('onPolicyTokens', 1)
    add('onPolicyLoss', loss[0])
    add('approxKl', old - logProb)
    add('onPolicyProbability', Math.exp(old))
  } else if (token.kind === TokenKind.offPolicy) {
    add('offPolicyTokens', 1)
    add('offPolicyProbability', Math.exp(logProb))
    if (Math.fround(Math.exp(logProb)) === 0) {
      add('offPolicyUnderflow', 1)
      loss = constant(0)
    } else {
      const x = exp(plus(current, constant(-Math.log(token.teacher ?? 1))))
      const shaped = [
        () => x,
        () => divide(x, plus(x, constant(o.gamma))),
        () => exp(scale(plus(current, constant(-Math.log(token.teacher ?? 1))), 0.5)),
        () => exp(scale(plus(current, constant(-Math.log(token.teacher ?? 1))), o.exponent)),
      ][o.shaping]!()
      const ratio = o.offPolicyCap > 0 ? smaller(shaped, constant(o.offPolicyCap)) : shaped
      add('offPolicyRatio', ratio[0])
      loss = scale(ratio, -advantage)
    }
    add('offPolicyLoss', loss[0])
  } else {
    // Detached: a number without a derivative. What is 0 in float32 is 0.
    const p = Math.exp(logProb)
    const phi = [1, p, -p * Math.expm1(logProb)][o.supervisedWeight]!
    loss = Math.fround(phi) === 0 ? constant(0) : scale(current, -phi)
    add('supervisedTokens', 1)
    add('supervisedLoss', loss[0])
  }
  if (token.reference !== undefined) {
    // k3 = e^x - x - 1, x = reference - policy.
    const x = scale(plus(current, constant(-token.reference)), -1)
    const k3 = plus(plus(exp(x), scale(x, -1)), constant(-1))
    add('referenceKl', k3[0])
    loss = plus(loss, scale(k3, o.klCoef))
  }
  const weighted = scale(loss, token.weight)
  add('policyLoss', weighted[0])
  if (!weighted.every(part => Number.isFinite(Math.fround(part)))) add('nonFinite', 1)
  return weighted
}

/** The token of row r, its log-probability from elsewhere. */
export function tokenOf(inputs: HostTensors, r: number, logProb: number): Token {
  const optional = (name: string) => inputs[name]?.data[r]
  return {
    kind: dataOf(inputs, 'kinds')[r]!,
    logProb,
    old: optional('oldLogProbs'),
    advantage: dataOf(inputs, 'advantages')[r]!,
    weight: dataOf(inputs, 'weights')[r]!,
    reference: optional('refLogProbs'),
    teacher: optional('teacherProbs'),
  }
}

/** `sums` by name, added to what the metrics held, in the order of the border. */
export function metricsOf(start: ArrayLike<number>, sums: Record<string, number>): Float64Array {
  return Float64Array.from(metricSums, (name, i) => start[i]! + (sums[name] ?? 0))
}

export interface TargetOptions {
  /** Which optional arguments there are. */
  old?: boolean
  reference?: boolean
  teacher?: boolean
  /** Whether some tokens are masked; default true. A benchmark's are not: less is moved for them. */
  masked?: boolean
}

/** Arguments that the three losses share. Masked rows hold NaN in all of them; some old log-probabilities are unknown. */
export function makeTargets(
  random: CounterRandom,
  logProbs: ArrayLike<number>,
  options: TargetOptions,
): HostTensors {
  const { old = true, reference = false, teacher = false, masked = true } = options
  const rows = logProbs.length
  const kinds = uint8(
    Array.from({ length: rows }, () => (masked ? random.integer(4) : 1 + random.integer(3))),
  )
  const column = (value: (r: number) => number) =>
    float32(
      Array.from({ length: rows }, (_, r) => (kinds.data[r] === TokenKind.masked ? Number.NaN : value(r))),
    )
  const near = (r: number) => Math.min(-1e-3, logProbs[r]! + 0.4 * random.normal())
  return {
    advantages: column(() => random.normal()),
    weights: column(() => random.uniform() / Math.max(rows, 1)),
    kinds,
    ...(old ? { oldLogProbs: column(r => (random.chance(0.1) ? Number.NaN : near(r))) } : {}),
    ...(reference ? { refLogProbs: column(near) } : {}),
    ...(teacher ? { teacherProbs: column(() => 0.05 + 0.9 * random.uniform()) } : {}),
    // Sums are added to what is there.
    metrics: {
      dtype: 'float64',
      shape: [metricSums.length],
      data: Float64Array.from(metricSums, (_, i) => i / 8),
    },
  }
}

/** The optional and required arguments of a loss, in the order in which the ops take them. */
export function targetHandles(tensors: Readonly<Record<string, Tensor>>) {
  return [
    tensors.oldLogProbs?.handle ?? null,
    tensors.advantages!.handle,
    tensors.weights!.handle,
    tensors.kinds!.handle,
    tensors.refLogProbs?.handle ?? null,
    tensors.teacherProbs?.handle ?? null,
  ] as const
}

/** What is tried of the objective, for every loss. */
export const variants: readonly {
  name: string
  objective: Partial<NativePolicyObjective>
  targets?: TargetOptions
}[] = [
  { name: 'nothing on', objective: {} },
  { name: 'no old log-probabilities', objective: {}, targets: { old: false } },
  { name: 'regularized', objective: { shaping: 1, logRatioClamp: 20 } },
  { name: 'regularized, gamma 2', objective: { shaping: 1, gamma: 2 } },
  { name: 'sqrt', objective: { shaping: 2 } },
  { name: 'power 0.3', objective: { shaping: 3, exponent: 0.3 } },
  { name: 'clip', objective: { clipLow: 0.2, clipHigh: 0.28 } },
  { name: 'clip from below only', objective: { clipLow: 0.1 } },
  { name: 'clip from above only', objective: { clipHigh: 0.1 } },
  { name: 'dual clip', objective: { dualClip: 1.2 } },
  { name: 'clip and dual clip', objective: { clipLow: 0.2, clipHigh: 0.2, dualClip: 1.5 } },
  { name: 'clamped log-ratio', objective: { logRatioClamp: 0.3 } },
  { name: 'cap', objective: { offPolicyCap: 0.25 } },
  { name: 'cap of a shaped ratio', objective: { shaping: 1, offPolicyCap: 0.6 } },
  { name: 'teacher', objective: { shaping: 1 }, targets: { teacher: true } },
  { name: 'teacher, sqrt, cap', objective: { shaping: 2, offPolicyCap: 1 }, targets: { teacher: true } },
  { name: 'reference without a coefficient', objective: {}, targets: { reference: true } },
  { name: 'reference', objective: { klCoef: 0.3 }, targets: { reference: true } },
  {
    name: 'all at once',
    objective: {
      clipLow: 0.2,
      clipHigh: 0.3,
      dualClip: 2,
      logRatioClamp: 0.5,
      shaping: 1,
      offPolicyCap: 0.7,
      supervisedWeight: 2,
      klCoef: 0.2,
    },
    targets: { reference: true, teacher: true },
  },
  { name: 'supervised by p', objective: { supervisedWeight: 1 } },
  { name: 'supervised by p (1 - p)', objective: { supervisedWeight: 2 } },
]

export interface PolicyLossSizes {
  rows: number
  objective?: Partial<NativePolicyObjective>
  targets?: TargetOptions
  name?: string
  /** Log-probabilities far from any that a policy starts with: underflow, and ratios that meet the clamp. */
  extreme?: boolean
}

export function policyLossCase(sizes: PolicyLossSizes): OpCase {
  const { rows, targets = {}, name = 'nothing on', extreme = false } = sizes
  const objective = { ...plainObjective, ...sizes.objective }
  return {
    name: `${rows}, ${name}${extreme ? ', extreme' : ''}`,
    flops: 40 * rows,
    bytes: 4 * rows * 8,
    make(random) {
      const logProbs = float32(
        Array.from({ length: rows }, () => (extreme ? -240 : -5) * random.uniform() - 1e-3),
      )
      const inputs: HostTensors = { logProbs, ...makeTargets(random, logProbs.data, targets) }
      const kinds = dataOf(inputs, 'kinds')
      for (let r = 0; r < rows; r++) {
        if (kinds[r] === TokenKind.masked) logProbs.data[r] = Number.NaN
        else if (extreme && inputs.oldLogProbs && r % 3 === 0)
          inputs.oldLogProbs.data[r] = -240 * random.uniform()
      }
      return inputs
    },
    outputs: { gradLogProbs: { shape: [rows] } },
    written: ['metrics'],
    enqueue: ({ ops, handle }, tensors) =>
      ops.policyLoss(
        handle,
        tensors.logProbs!.handle,
        ...targetHandles(tensors),
        objective,
        tensors.gradLogProbs!.handle,
        tensors.metrics!.handle,
      ),
    reference(inputs) {
      const sums = {}
      const gradLogProbs = Float64Array.from(dataOf(inputs, 'logProbs'), (logProb, r) =>
        Math.fround(tokenReference(objective, tokenOf(inputs, r, logProb), sums)[1]),
      )
      return { gradLogProbs, metrics: metricsOf(dataOf(inputs, 'metrics'), sums) }
    },
  }
}

export const cases: readonly OpCase[] = [
  ...[0, 1, 3, 17].map(rows => policyLossCase({ rows })),
  ...variants.map(variant => policyLossCase({ rows: 257, ...variant })),
  ...[0, 1, 2, 3].map(shaping =>
    policyLossCase({
      rows: 1031,
      extreme: true,
      name: `shaping ${shaping}`,
      objective: { shaping, logRatioClamp: 20, exponent: 0.5 },
    }),
  ),
  policyLossCase({ rows: 70_001, ...variants.at(-1)! }),
]
