// A run in progress: its folder, its checkpoints, and where it stands.
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import type { Task } from '../rewards/task.js'
import type { Policy } from '../sampler/policy.js'
import type { Device } from '../tensor/device.js'
import { type Checkpoint, CheckpointStore, jsonWriter } from './checkpoint.js'
import type { StepMetrics } from './metrics.js'
import { type CompletionRow, inspectRunFolder, RunFolder, type RunFolderOptions } from './run-folder.js'
import { readJsonFile } from './small-files.js'
import type { ResolvedTrainConfig } from './train-config.js'
import type { Trainer, TrainerState } from './trainer.js'

const stateFileName = 'trainer_state.json'

/** trainer_state.json: Hugging Face's names, and luffy's own under one. */
interface SavedState {
  global_step: number
  max_steps: number
  best_metric: number | null
  luffy: {
    trainer: TrainerState
    metricsBytes: number
    evaluation?: Evaluation | undefined
  }
}

/** Accuracy by set of the policy as it was after a step. */
export interface Evaluation {
  step: number
  accuracy: Record<string, number>
}

export class TrainingRun {
  readonly folder: RunFolder
  /** Where the run goes on from. */
  readonly checkpoint: Checkpoint | undefined
  readonly notices: string[]
  /** Steps done. */
  step = 0
  /** The newest evaluation. */
  evaluation: Evaluation | undefined
  /** The folder of the checkpoint of the last step, once it is saved. */
  newest: string | undefined
  readonly #store: CheckpointStore
  readonly #config: ResolvedTrainConfig
  #state: SavedState | undefined
  #best: { step: number; value: number } | undefined

  private constructor(
    folder: RunFolder,
    store: CheckpointStore,
    config: ResolvedTrainConfig,
    checkpoint: Checkpoint | undefined,
    notices: string[],
  ) {
    this.folder = folder
    this.#store = store
    this.#config = config
    this.checkpoint = checkpoint
    this.notices = notices
  }

  /** Where a run of this configuration would begin, without a change to anything. Throws what `open` throws. */
  static async inspect(
    config: ResolvedTrainConfig,
    fingerprints?: Fingerprints,
  ): Promise<{ folder: string; exists: boolean; checkpoint: Checkpoint | undefined; notices: string[] }> {
    const { path, exists, notices } = await inspectRunFolder(folderOptions(config))
    if (!exists) return { folder: path, exists, checkpoint: undefined, notices }
    await refuseOtherData(path, fingerprints)
    const point = await new CheckpointStore(path, { keep: config.saveTotalLimit }).verifiedPoint()
    return { folder: path, exists, checkpoint: point.checkpoint, notices: [...notices, ...point.notices] }
  }

  /** The accuracy that a checkpoint recorded for its step. */
  static async accuracyAt(checkpoint: string): Promise<Record<string, number>> {
    const state = (await readJsonFile(join(checkpoint, stateFileName))) as SavedState | undefined
    return state?.luffy?.evaluation?.accuracy ?? {}
  }

  /** @throws {CheckpointError} also where the files of the task are not those that the run began with */
  static async open(
    config: ResolvedTrainConfig,
    device: Device,
    fingerprints?: Fingerprints,
  ): Promise<TrainingRun> {
    await refuseOtherData(join(config.outputDir, config.runName), fingerprints)
    const { backend, isa, threads, products } = device.info()
    const folder = await RunFolder.open({
      ...folderOptions(config),
      info: {
        device: backend,
        isa,
        threads,
        ...(products ? { products: products.reason === '' ? `cuBLASLt ${products.version}` : 'own' } : {}),
        seed: config.seed,
        ...(fingerprints ? { data: fingerprints } : {}),
      },
    })
    try {
      const store = new CheckpointStore(folder.path, {
        keep: config.saveTotalLimit,
        assertHeld: () => folder.lock.assertHeld(),
      })
      const { checkpoint, notices } = await store.resumePoint()
      const run = new TrainingRun(folder, store, config, checkpoint, [...folder.notices, ...notices])
      await run.#readState()
      return run
    } catch (error) {
      await folder.close()
      throw error
    }
  }

  async #readState(): Promise<void> {
    const best = await this.#store.best()
    if (best) this.#best = { step: best.step, value: best.value }
    if (this.checkpoint === undefined) {
      await this.folder.startAt({ step: 0, metricsBytes: 0 })
      return
    }
    const path = join(this.checkpoint.folder, stateFileName)
    const state = (await readJsonFile(path)) as SavedState | undefined
    if (state?.global_step !== this.checkpoint.step || state.luffy?.trainer === undefined) {
      throw new CheckpointError(`${path}: expected the state of step ${this.checkpoint.step}`, { path })
    }
    this.#state = state
    this.step = state.global_step
    this.evaluation = state.luffy.evaluation
    this.newest = this.checkpoint.folder
    await this.folder.startAt({ step: this.step, metricsBytes: state.luffy.metricsBytes })
    await this.#markBest() // a crash may have come between the save and the mark
  }

  /** Gives the trainer its moments and counters back. */
  async restore(trainer: Trainer): Promise<void> {
    if (this.checkpoint === undefined || this.#state === undefined) return
    await trainer.loadState(this.checkpoint.folder, this.#state.luffy.trainer)
  }

  /** Logs a step; from here on the run has done it. */
  async completeStep(metrics: StepMetrics, rows: readonly CompletionRow[]): Promise<void> {
    await this.folder.appendMetrics(metrics)
    if (rows.length > 0) await this.folder.writeCompletions(metrics.step, rows)
    this.step = metrics.step
    this.newest = undefined
  }

  /** Logs the accuracy of the policy as it stands; with the checkpoint of this step it decides which is the best. */
  async evaluated(accuracy: Record<string, number>, seconds: number): Promise<void> {
    this.evaluation = { step: this.step, accuracy }
    const evaluation = Object.fromEntries(
      Object.entries(accuracy).map(([set, mean]) => [`accuracy/${set}`, mean]),
    )
    await this.folder.appendMetrics({ step: this.step, evaluation, evaluationSeconds: seconds })
    if (this.newest !== undefined) await this.#markBest()
  }

  /** Writes checkpoint-N for the step that was done last, and returns its folder. */
  async save(policy: Policy, trainer: Trainer, task: Task): Promise<string> {
    const metricsBytes = await this.folder.syncMetrics()
    const saved = await this.#store.save(this.step, [
      async folder => {
        // The policy may come from a checkpoint that is gone by now; the tokenizer is the task's.
        await policy.save(folder, { tokenizerFrom: null })
        await task.tokenizer.save(folder)
        const state: SavedState = {
          global_step: this.step,
          max_steps: this.#config.maxSteps,
          best_metric: this.#best?.value ?? null,
          luffy: {
            trainer: await trainer.saveState(folder),
            metricsBytes,
            evaluation: this.evaluation,
          },
        }
        await jsonWriter(stateFileName, state)(folder)
      },
    ])
    this.newest = saved.folder
    await this.#markBest()
    return saved.folder
  }

  /** Marks the checkpoint of this step as the best, if its evaluation says so. */
  async #markBest(): Promise<void> {
    const { bestBy } = this.#config
    if (bestBy === undefined) return
    const value = this.evaluation?.step === this.step ? this.evaluation.accuracy[bestBy] : undefined
    if (value !== undefined && (this.#best === undefined || value > this.#best.value)) {
      this.#best = { step: this.step, value }
      await this.#store.markBest({ step: this.step, metric: `accuracy/${bestBy}`, value })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder.close()
  }
}

/** Of the files of a task, by path: sha256 as in lib/data/fingerprint.ts. */
type Fingerprints = Readonly<Record<string, string>>

// Other rows under the same names would be trained on in the order of the old ones, which nobody could see later.
async function refuseOtherData(folder: string, now: Fingerprints | undefined): Promise<void> {
  const info = (await readJsonFile(join(folder, 'run.json'))) as { data?: unknown } | undefined
  const before = info?.data
  if (now === undefined || typeof before !== 'object' || before === null) return
  const changed = Object.entries(before).filter(
    ([path, sum]) => Object.hasOwn(now, path) && now[path] !== sum,
  )
  if (changed.length === 0) return
  const paths = changed.map(([path]) => path)
  throw new CheckpointError(
    `${folder}: the run began with other data: ${paths.join(', ')} has changed since`,
    {
      path: folder,
      hint: 'put the file back as it was, or start a run of another name (runName) with the checkpoint as its model',
      details: { changed: paths },
    },
  )
}

function folderOptions(config: ResolvedTrainConfig): RunFolderOptions {
  return {
    outputDir: config.outputDir,
    name: config.runName,
    config: JSON.parse(JSON.stringify(config)) as Record<string, unknown>,
    resume: config.resume,
    allowChanged: [
      'maxSteps',
      'saveSteps',
      'saveTotalLimit',
      'evalSteps',
      'logCompletions',
      'resume',
      'threads',
    ],
  }
}
