// Trainer: a policy, its optimizer state, and `trainStep`: groups in, one optimizer update, metrics out.
import { Tape } from '../autograd/tape.js'
import { DisposedError, NonFiniteError } from '../errors.js'
import { groupAdvantages } from '../methods/losses.js'
import type { NativePolicyObjective } from '../native.js'
import { adamw } from '../ops/adamw.js'
import { gradientNorm } from '../ops/gradient-norm.js'
import { linearPolicyLoss } from '../ops/linear-policy-loss.js'
import { createMetricSums } from '../ops/policy-loss.js'
import { lossMetrics, nativeObjective } from '../ops/policy-objective.js'
import {
  checkFunction,
  checkInteger,
  checkNumber,
  checkOptions,
  checkPath,
  describeValue,
} from '../options.js'
import type { PolicyConfig } from '../policy/config.js'
import { packGroups, uploadPacked } from '../policy/packing.js'
import { longest } from '../policy/policy-model.js'
import { forwardBatch } from '../policy/transformer.js'
import { Policy } from '../sampler/policy.js'
import type { Tensor } from '../tensor/tensor.js'
import { rewardMetrics } from './group-metrics.js'
import { type CheckedMember, checkGroups, isRated, PreparedGroups, type TrainGroup } from './groups.js'
import { loadMethodState, saveMethodState } from './method-state.js'
import { metricRecord, type StepMetrics } from './metrics.js'
import {
  hasSignal,
  type MicroGroup,
  planMicroBatches,
  targetArrays,
  toPacked,
  weighMembers,
} from './micro-batches.js'
import { type Moment, momentAt } from './moment.js'
import { loadOptimizer, saveOptimizer } from './optimizer-files.js'
import { TokenLog } from './token-log.js'
import { type ResolvedTrainerOptions, resolveTrainerOptions, type TrainerOptions } from './trainer-options.js'

/** What a trainer needs besides its tensors to go on where it was. */
export interface TrainerState {
  /** Calls of trainStep, and updates that were applied. */
  steps: number
  updates: number
  /** Tokens trained on. */
  tokens: number
  /** Updates skipped for their gradient: in all; and in a row, for one that is not finite. */
  skippedUpdates: number
  skippedInARow: number
  /** Updates skipped because nothing had an advantage. */
  noSignalUpdates: number
  /** Updates that were applied before the moments were last forgotten. */
  momentsSince: number
}

export interface TrainStepOptions {
  /** For this update instead of the optimizer's. */
  learningRate?: number
  /** Of the run: some objectives depend on it (learning rates and fresh moments of `at` are for the caller). Default: that of prepared groups, else the calls so far and one. */
  step?: number
  /**
   * Told, before trainStep resolves, the log-probabilities that the loss gave the response tokens of a demonstration:
   * the number of its member, counted over the groups in their order.
   */
  onDemonstration?: (member: number, logProbs: Float32Array) => void
}

/**
 * The widest activation of one micro-batch, when its size is not given. Ops read what the op before them wrote: within
 * this size it is still in the cache, which made a step of 16,384 tokens twice as fast as in one piece.
 */
const widestBytes = 8 * 2 ** 20
const fewestTokens = 1024

export class Trainer {
  readonly policy: Policy
  readonly options: ResolvedTrainerOptions
  readonly #gradients: Tensor
  readonly #firstMoment: Tensor
  readonly #secondMoment: Tensor
  readonly #maxTokens: number
  #state: TrainerState = {
    steps: 0,
    updates: 0,
    tokens: 0,
    skippedUpdates: 0,
    skippedInARow: 0,
    noSignalUpdates: 0,
    momentsSince: 0,
  }
  #disposed = false

  private constructor(policy: Policy, options: ResolvedTrainerOptions) {
    const { device, model } = policy
    this.policy = policy
    this.options = options
    this.#gradients = model.attachGradients()
    const moments = device.scope(() => [device.zeros([model.layout.size]), device.zeros([model.layout.size])])
    ;[this.#firstMoment, this.#secondMoment] = device.keep(moments) as [Tensor, Tensor]
    this.#maxTokens = options.maxTokensPerMicroBatch ?? defaultMicroBatch(policy.config)
  }

  /**
   * @throws {ConfigError} for unknown names; RangeError and TypeError for wrong values
   * @throws {OutOfMemoryError} when gradients and moments do not fit
   */
  static async create(policy: Policy, options: TrainerOptions = {}): Promise<Trainer> {
    if (!(policy instanceof Policy))
      throw new TypeError(`policy: expected a Policy, got ${describeValue(policy)}`)
    if (policy.disposed) throw new DisposedError('the policy was disposed')
    return new Trainer(policy, resolveTrainerOptions(options))
  }

  get state(): Readonly<TrainerState> {
    return this.#state
  }

  /**
   * One optimizer update on groups (arXiv 2504.14945, section 3): advantages, token losses, gradients, AdamW.
   *
   * Without any advantage or supervised token (as for no groups, or groups without members) the update is skipped and counted (`noSignalUpdates`); with a gradient
   * that is not finite, or larger than `skipGradNorm`, as well (`skippedUpdates`), parameters and moments unchanged to the bit.
   *
   * @param groups or some of what `prepare` made of them, which is not checked and copied again
   * @throws {RangeError | TypeError | ConfigError} for groups that are wrong, before anything is enqueued
   * @throws {NonFiniteError} when more than maxSkippedUpdates updates in a row were skipped
   * @throws {BusyError} while the policy is in use
   */
  async trainStep(
    groups: readonly TrainGroup[] | PreparedGroups,
    options: TrainStepOptions = {},
  ): Promise<StepMetrics> {
    this.#checkLive()
    const given = checkOptions(options, 'trainStep', ['learningRate', 'step', 'onDemonstration'])
    const { onDemonstration } = options
    if (onDemonstration !== undefined) checkFunction(onDemonstration, 'onDemonstration')
    const learningRate = checkNumber(
      given.learningRate ?? this.options.optimizer.learningRate,
      'learningRate',
      {
        min: 0,
      },
    )
    const prepared = groups instanceof PreparedGroups ? groups.step : undefined
    const moment = this.at(given.step ?? prepared ?? this.#state.steps + 1)
    const checked = this.#check(groups, moment)
    return this.policy.exclusively('trainStep', () =>
      this.#step(checked, learningRate, moment, onDemonstration),
    )
  }

  /** What the method asks for at a step of the run, the first being 1. */
  at(step: unknown): Moment {
    return momentAt(this.options, checkInteger(step, 'step', { min: 1 }))
  }

  /** The advantage of every member, by group: what trainStep would take. Per token where it was given so. */
  async advantages(
    groups: readonly TrainGroup[],
    options: { step?: number } = {},
  ): Promise<(number | Float32Array)[][]> {
    return [...(await this.prepare(groups, options)).advantages]
  }

  /**
   * Checks and copies groups and computes their advantages, once for several updates on parts of them: pass
   * `prepared.slice(start, end)` to trainStep. Throws as trainStep does.
   */
  async prepare(groups: readonly TrainGroup[], options: { step?: number } = {}): Promise<PreparedGroups> {
    this.#checkLive()
    const { step } = checkOptions(options, 'prepare', ['step'])
    const moment = this.at(step ?? this.#state.steps + 1)
    const checked = this.#check(groups, moment)
    const advantages = await this.#advantages(checked, moment)
    const rated = checked.flat().map((member, i) => ({ ...member, advantage: advantages[i] ?? 0 }))
    return new PreparedGroups(this, byGroup(rated, checked), step === undefined ? undefined : moment.step)
  }

  #check(groups: readonly TrainGroup[] | PreparedGroups, moment: Moment): CheckedMember[][] {
    if (groups instanceof PreparedGroups) {
      if (groups.owner === this) return groups.members.map(group => [...group])
      throw new TypeError('groups: expected groups that this trainer prepared, got those of another trainer')
    }
    const { vocabSize, maxPositions } = this.policy.config
    const { objective, method } = moment
    return checkGroups(groups, {
      vocabSize,
      maxPositions,
      supervised: method.demonstrationTokens === 'supervised',
      needsReference: objective.klCoef > 0,
    })
  }

  async #step(
    groups: CheckedMember[][],
    learningRate: number,
    moment: Moment,
    onDemonstration: TrainStepOptions['onDemonstration'],
  ): Promise<StepMetrics> {
    const started = performance.now()
    const { sharePrompts, updateWithoutSignal } = this.options
    const { objective } = moment
    const members = groups.flat()
    const advantages = await this.#advantages(groups, moment)
    const weighted = weighMembers(members, advantages, objective)
    const counted = members.reduce((sum, member) => sum + member.counted, 0)
    this.#state = { ...this.#state, steps: this.#state.steps + 1 }
    const shared: StepMetrics = { step: this.#state.steps, learningRate, ...rewardMetrics(groups) }

    if (!updateWithoutSignal && !weighted.some(hasSignal)) {
      this.#state = { ...this.#state, noSignalUpdates: this.#state.noSignalUpdates + 1 }
      return { ...shared, noSignalUpdates: 1, skippedUpdates: 0, updateSeconds: secondsSince(started) }
    }

    const batches = planMicroBatches(byGroup(weighted, groups), this.#maxTokens, sharePrompts)
    const { device } = this.policy
    this.policy.model.rope(longest(members))
    device.ops.fill(device.handle, this.#gradients.handle, 0)
    const sums = device.keep(createMetricSums(device))
    const log = new TokenLog(objective.shaping.gamma)
    try {
      for (const batch of batches) {
        this.#microBatch(batch, nativeObjective(objective, counted), sums, log)
        await new Promise(resolve => setImmediate(resolve))
      }
      const [control, totals] = await this.#update(learningRate, sums)
      const finite = control[2] === 1
      const { skipGradNorm } = this.options.optimizer
      const applied = finite && !(skipGradNorm > 0 && (control[0] as number) > skipGradNorm)
      const { nonFinite: _, ...losses } = lossMetrics(totals, objective)
      this.#count(finite, applied, counted, { gradNorm: control[0] as number, ...losses })
      const { logProbs, histogram } = await log.read()
      members.forEach((member, i) => {
        const values = logProbs.get(member)
        if (values !== undefined) onDemonstration?.(i, values)
      })
      const seconds = secondsSince(started)
      return {
        ...shared,
        ...losses,
        ...(histogram ? { demonstrationWeights: histogram } : {}),
        gradNorm: control[0] as number,
        skippedUpdates: applied ? 0 : 1,
        noSignalUpdates: 0,
        numTokens: this.#state.tokens,
        updateSeconds: seconds,
        tokensPerSecond: counted / seconds,
        liveBytes: device.info().liveBytes,
      }
    } finally {
      sums.dispose()
    }
  }

  /** Advantages of all members in order: given ones as they are, the others from their group's rewards. */
  async #advantages(groups: CheckedMember[][], moment: Moment): Promise<(number | Float32Array)[]> {
    const flat = groups.flatMap((group, g) => group.map(member => ({ member, g })))
    const rated = flat.filter(({ member }) => isRated(member))
    const computed =
      rated.length === 0
        ? new Float32Array(0)
        : await groupAdvantages(
            {
              rewards: rated.map(({ member }) => member.reward as number),
              groups: rated.map(({ g }) => g),
              offPolicy: rated.map(({ member }) => member.isDemonstration),
            },
            moment.advantages,
            this.policy.device,
          )
    let next = 0
    return flat.map(({ member }) =>
      isRated(member) ? (computed[next++] as number) : (member.advantage ?? 0),
    )
  }

  /** Enqueues the forward and backward pass of one micro-batch. */
  #microBatch(groups: MicroGroup[], objective: NativePolicyObjective, sums: Tensor, log: TokenLog): void {
    const { device, model, config } = this.policy
    const { temperature, gradientCheckpointing } = this.options
    const arrays = packGroups(groups.map(toPacked))
    const weighted = groups.flatMap(group => group.members)
    const targets = targetArrays(weighted)
    const table = model.rope(1)
    const tape = new Tape(device)
    const pass = () => {
      const batch = uploadPacked(device, arrays)
      const optional = (values: Float32Array | undefined) => (values ? device.float32(values) : undefined)
      const hidden = forwardBatch(config, model.weights, table, batch, {
        tape,
        recompute: gradientCheckpointing,
      })
      const { logProbs } = linearPolicyLoss(
        tape,
        hidden,
        model.weights.output,
        batch.targets,
        temperature,
        {
          oldLogProbs: optional(targets.oldLogProbs),
          advantages: device.float32(targets.advantages),
          weights: device.float32(targets.weights),
          kinds: device.uint8(targets.kinds),
          refLogProbs: optional(targets.refLogProbs),
          teacherProbs: optional(targets.teacherProbs),
        },
        objective,
        sums,
      )
      log.add(
        weighted.map(({ member }) => member),
        device.readFloat32(logProbs),
      )
      tape.backward()
    }
    try {
      device.scope(pass)
    } finally {
      tape.dispose() // also what a pass that failed half-way has saved
    }
  }

  /** Enqueues the optimizer and waits: {norm, factor, ok, bad elements} and the sums of the loss. */
  async #update(learningRate: number, sums: Tensor): Promise<[Float32Array, Float64Array]> {
    const { device, model } = this.policy
    const { betas, epsilon, weightDecay, maxGradNorm, skipGradNorm } = this.options.optimizer
    const control = device.keep(gradientNorm(this.#gradients, maxGradNorm))
    const read = () => Promise.all([device.readFloat32(control), device.readFloat64(sums)])
    if (skipGradNorm > 0) {
      const [values, totals] = await read()
      if ((values[0] as number) > skipGradNorm) {
        control.dispose()
        return [values, totals]
      }
    }
    adamw(
      {
        params: model.values,
        grads: this.#gradients,
        firstMoment: this.#firstMoment,
        secondMoment: this.#secondMoment,
        ...(model.half ? { half: model.half } : {}),
      },
      control,
      { learningRate, beta1: betas[0], beta2: betas[1], epsilon, weightDecay, step: this.#adamStep() },
    )
    try {
      return await read()
    } finally {
      control.dispose()
    }
  }

  #adamStep(): number {
    return this.#state.updates - this.#state.momentsSince + 1
  }

  /** Forgets the moments, as a new optimizer would have none; the policy stays. */
  async resetOptimizer(): Promise<void> {
    this.#checkLive()
    await this.policy.exclusively('resetOptimizer', async () => {
      const { device } = this.policy
      for (const moment of [this.#firstMoment, this.#secondMoment]) {
        device.ops.fill(device.handle, moment.handle, 0)
      }
      await device.synchronize()
      this.#state = { ...this.#state, momentsSince: this.#state.updates }
    })
  }

  #count(finite: boolean, applied: boolean, tokens: number, metrics: Omit<StepMetrics, 'step'>): void {
    const state = { ...this.#state }
    if (applied) {
      state.updates += 1
      state.tokens += tokens
    } else {
      state.skippedUpdates += 1
    }
    state.skippedInARow = finite ? 0 : state.skippedInARow + 1
    this.#state = state
    if (state.skippedInARow > this.options.maxSkippedUpdates) {
      throw new NonFiniteError(
        `${state.skippedInARow} updates in a row had a gradient that is not finite (step ${state.steps})`,
        {
          hint: 'go back to an earlier checkpoint, or lower the learning rate',
          details: { step: state.steps, metrics: metricRecord({ step: state.steps, ...metrics }) },
        },
      )
    }
  }

  /** The flat gradient of the last update, before clipping, by parameter name. For checks and research. */
  async gradients(): Promise<Map<string, { data: Float32Array; shape: readonly number[] }>> {
    this.#checkLive()
    const flat = await this.policy.device.readFloat32(this.#gradients)
    return new Map(
      this.policy.model.layout.parameters.map(({ name, offset, size, shape }) => [
        name,
        { data: flat.slice(offset, offset + size), shape },
      ]),
    )
  }

  /** Writes the moments (optimizer.safetensors) and what the method keeps (method-state.jsonl) to `folder` and returns the numbers that go with them. */
  async saveState(folder: string): Promise<TrainerState> {
    this.#checkLive()
    checkPath(folder, 'folder')
    return this.policy.exclusively('saveState', async () => {
      const moments = { firstMoment: this.#firstMoment, secondMoment: this.#secondMoment }
      await saveOptimizer(folder, moments, this.policy.device)
      if (this.options.memory !== undefined) await saveMethodState(folder, this.options.memory)
      return this.#state
    })
  }

  /** Takes up a state that saveState wrote. Throws CheckpointError when the file does not fit the policy. */
  async loadState(folder: string, state: TrainerState): Promise<void> {
    this.#checkLive()
    checkPath(folder, 'folder')
    const counters = checkState(state)
    await this.policy.exclusively('loadState', async () => {
      const { device, model } = this.policy
      const moments = await loadOptimizer(folder, model.layout.size)
      if (this.options.memory !== undefined) await loadMethodState(folder, this.options.memory)
      device.write(this.#firstMoment, moments.firstMoment)
      device.write(this.#secondMoment, moments.secondMoment)
      await device.synchronize()
      this.#state = { ...this.#state, ...counters }
    })
  }

  #checkLive(): void {
    if (this.#disposed) throw new DisposedError('the trainer was disposed')
    if (this.policy.disposed) throw new DisposedError("the trainer's policy was disposed")
  }

  /** Frees moments, when no call is running; the policy stays. Twice is no fault. */
  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await this.policy.idle()
    this.#firstMoment.dispose()
    this.#secondMoment.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }
}

/** Counters from a file: known names, integers of at least 0. */
function checkState(state: unknown): Partial<TrainerState> {
  const names = [
    'steps',
    'updates',
    'tokens',
    'skippedUpdates',
    'skippedInARow',
    'noSignalUpdates',
    'momentsSince',
  ] as const
  if (state === undefined || state === null)
    throw new TypeError(`state: expected a TrainerState, got ${describeValue(state)}`)
  const given = checkOptions(state, 'state', names)
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, checkInteger(value, `state.${name}`)]),
  )
}

/** A flat list cut as the groups are. */
function byGroup<T>(flat: readonly T[], groups: readonly (readonly unknown[])[]): T[][] {
  let start = 0
  return groups.map(group => {
    start += group.length
    return flat.slice(start - group.length, start)
  })
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000
}

/** Tokens whose widest activation takes `widestBytes`; fewer would not keep the products busy. */
export function defaultMicroBatch({ intermediateSize, heads, kvHeads, headDim }: PolicyConfig): number {
  const widest = Math.max(2 * intermediateSize, (heads + 2 * kvHeads) * headDim)
  return Math.max(fewestTokens, Math.floor(widestBytes / (4 * widest)))
}
