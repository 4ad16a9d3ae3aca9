// What a run would do, found out without a change to anything: `luffy train --dry-run` and `luffy validate`.
import { Checkpoint } from '../policy/checkpoint-files.js'
import type { PolicyConfig } from '../policy/config.js'
import { withOverrides } from '../policy/config.js'
import { isHubReference, modelFolder } from '../policy/hub.js'
import { readPolicyConfig } from '../policy/hugging-face-config.js'
import { parameterLayout } from '../policy/parameters.js'
import { checkTask, type Task } from '../rewards/task.js'
import { checkComputes } from '../tensor/compute-dtype.js'
import { Device } from '../tensor/device.js'
import { effectiveConfig } from './effective-config.js'
import { momentAt } from './moment.js'
import { checkFits, namedTask } from './run-task.js'
import { bestSetOf, deviceOptionsOf, type ResolvedTrainConfig, trainerOptionsOf } from './train-config.js'
import { resolveTrainerOptions } from './trainer-options.js'
import { TrainingRun } from './training-run.js'

/** A configuration against this machine: its device is there, its model can be read and has the task's tokens. */
export interface CheckedSetup {
  /** With `bestBy`, which is the task's where it is not given. */
  config: ResolvedTrainConfig
  device: { backend: string; isa: string; threads: number }
  /** With the rotary base and the window that the run has. */
  model: {
    folder: string
    architecture: string
    parameters: number
    ropeTheta: number
    maxPositions: number
  }
  evaluations: string[]
  /** Every value that the run would have, and the options that are off. */
  effective: { config: ResolvedTrainConfig; off: string[] }
}

/**
 * Opens the device and the model of a configuration. `folder`: a checkpoint to read in the model's place.
 *
 * @throws {ConfigError} for a `bestBy` that is no set of the task; else what Device.open and Policy.load throw
 */
export async function checkSetup(
  config: ResolvedTrainConfig,
  options: { task?: Task | undefined; folder?: string | undefined } = {},
): Promise<CheckedSetup> {
  const task = options.task === undefined ? await namedTask(config, undefined) : checkTask(options.task)
  const bestBy = bestSetOf(config, task)
  await using device = await Device.open(config.device, deviceOptionsOf(config))
  const { backend, isa, threads } = device.info()
  checkComputes(device.name, config.dtype)
  const folder = options.folder ?? config.model
  const policy = await policyOf(folder, config)
  checkFits(folder, policy, task, config)
  return {
    config: { ...config, bestBy },
    device: { backend, isa, threads },
    model: {
      folder,
      architecture: policy.architecture,
      parameters: parameterLayout(policy).parameterCount,
      ropeTheta: policy.ropeTheta,
      maxPositions: policy.maxPositions,
    },
    evaluations: task.evaluations.map(({ name }) => name),
    effective: effectiveConfig({ ...config, bestBy }, policy, backend === 'cpu' ? threads : undefined),
  }
}

/** The policy that a run would load. The weights of a model of the hub are fetched, and looked at, when it begins. */
async function policyOf(model: string, config: ResolvedTrainConfig): Promise<PolicyConfig> {
  const { ropeTheta, maxPositions } = config
  if (isHubReference(model)) {
    const read = await readPolicyConfig(await modelFolder(model, { parts: 'config' }))
    return withOverrides(read, { ropeTheta, maxPositions })
  }
  await using checkpoint = await Checkpoint.open(model, { ropeTheta, maxPositions })
  return checkpoint.config
}

/** Steps that are alike. */
export interface PlannedPhase {
  method: string
  /** The first and the last of them. */
  from: number
  to: number
  /** Per group. */
  samples: number
  demonstrations: number
  updatesPerStep: number
}

export interface TrainPlan extends CheckedSetup {
  runFolder: string
  /** Whether the run folder is there. */
  exists: boolean
  /** Steps that are done, and the checkpoint the run would go on from. */
  step: number
  checkpoint: string | undefined
  notices: string[]
  /** What the steps are, in their order; one part unless the method begins as another. */
  phases: PlannedPhase[]
  /** Of weights, gradients and the two moments, in float32. */
  stateBytes: number
}

/** What `train(config)` would do. Writes nothing; throws what the run would throw before its first step. */
export async function planTrain(config: ResolvedTrainConfig, given?: Task): Promise<TrainPlan> {
  const task = given === undefined ? await namedTask(config, undefined) : checkTask(given)
  const bestBy = bestSetOf(config, task)
  const { folder, exists, checkpoint, notices } = await TrainingRun.inspect(
    { ...config, bestBy },
    task.fingerprints,
  )
  const setup = await checkSetup(config, { task, folder: checkpoint?.folder })
  return {
    ...setup,
    runFolder: folder,
    exists,
    step: checkpoint?.step ?? 0,
    checkpoint: checkpoint?.folder,
    notices: [...notices, ...(task.notices ?? [])],
    phases: phasesOf(config),
    stateBytes: 4 * 4 * setup.model.parameters,
  }
}

/** Steps that are looked at one by one: a method says what each is. */
const mostSteps = 100_000

function phasesOf(config: ResolvedTrainConfig): PlannedPhase[] {
  const options = resolveTrainerOptions(trainerOptionsOf(config))
  const phases: PlannedPhase[] = []
  for (let step = 1; step <= Math.max(1, Math.min(config.maxSteps, mostSteps)); step++) {
    const { method, oneUpdate } = momentAt(options, step)
    const demonstrations = method.demonstrations ? config.demonstrationsPerPrompt : 0
    const phase = {
      method: method.name,
      samples: method.onPolicy ? config.numGenerations - demonstrations : 0,
      demonstrations,
      updatesPerStep: oneUpdate ? 1 : config.promptsPerStep / config.promptsPerUpdate,
    }
    const last = phases.at(-1)
    const isSame =
      last?.method === phase.method &&
      last.samples === phase.samples &&
      last.updatesPerStep === phase.updatesPerStep
    if (last !== undefined && isSame) last.to = step
    else phases.push({ ...phase, from: step, to: step })
  }
  const last = phases.at(-1)
  if (last !== undefined) last.to = Math.max(last.to, config.maxSteps)
  return phases
}
