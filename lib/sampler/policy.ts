// Policy: the handle that users hold. Loads, creates, samples, scores and saves; training takes it by reference.
import { tell } from '../callback.js'
import { BusyError, ConfigError, DisposedError, throwIfAborted } from '../errors.js'
import {
  checkArray,
  checkBoolean,
  checkCallback,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  checkPath,
  checkSignal,
  describeValue,
  temperatureRange,
} from '../options.js'
import { Checkpoint, type LoadProgress } from '../policy/checkpoint-files.js'
import {
  type CheckpointDtype,
  checkpointDtypes,
  copyTokenizer,
  writeCheckpoint,
} from '../policy/checkpoint-write.js'
import type { PolicyConfig, PolicyOptions } from '../policy/config.js'
import { type DownloadProgress, modelFolder } from '../policy/hub.js'
import { policyConfigFrom } from '../policy/hugging-face-config.js'
import { checkSequence, checkTokens } from '../policy/packing.js'
import { type FlatSink, initializeParameters, parameterLayout } from '../policy/parameters.js'
import { PolicyModel, type SequenceLogProbs } from '../policy/policy-model.js'
import { type ComputeDtype, checkComputes, computeBytes, computeDtypes } from '../tensor/compute-dtype.js'
import { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import { Upload } from '../tensor/upload.js'
import { type Completion, resolveSampleOptions, type SampleOptions } from './options.js'
import { sampleCompletions } from './sampler.js'

// Values in float32 and, where the policy computes in another dtype, a copy in that.
const bytesPerParameter = (dtype: ComputeDtype) =>
  computeBytes.float32 + (dtype === 'float32' ? 0 : computeBytes[dtype])

export interface PolicyCreateOptions {
  /** A Device, or the name of one that the policy opens and closes. Default 'auto'. */
  device?: Device | string
  /** As of `PolicyLoadOptions`. */
  dtype?: ComputeDtype
  /** Of the initial weights. Default 0. */
  seed?: number
}

export interface PolicyLoadOptions {
  device?: Device | string
  /**
   * What activations and the weights that they meet are in memory. Default 'float32'. With 'bfloat16', which CUDA has and
   * the CPU has not, statistics and sums are float32 all the same, and so are gradients of weights, moments and the
   * weights that an update changes and `save` writes.
   */
  dtype?: ComputeDtype
  /** Another rotary base, or a longer window, than config.json says. */
  ropeTheta?: number
  maxPositions?: number
  /** Take weights that hold NaN or infinity. Default false. */
  allowNonFinite?: boolean
  signal?: AbortSignal
  /** Told of each tensor; a promise is waited for. What it or `onWarning` throws ends the call (lib/callback.ts). */
  onProgress?: (progress: LoadProgress) => unknown
  /** Told of what is fetched of a model of the hub. */
  onDownload?: (progress: DownloadProgress) => unknown
  /** Told of tensors that the policy does not use. */
  onWarning?: (message: string) => unknown
}

export interface PolicySaveOptions {
  /** Type of the written weights. Default 'float32'. */
  dtype?: CheckpointDtype
  /** A folder whose tokenizer files are copied; null: none are. Default: that the policy was loaded from. */
  tokenizerFrom?: string | null
  maxShardBytes?: number
}

export class Policy {
  readonly model: PolicyModel
  /** The folder it was loaded from. */
  readonly source: string | undefined
  readonly #ownsDevice: boolean
  #disposed = false
  #training = false
  #readers = 0
  readonly #running = new Set<Promise<unknown>>()

  private constructor(model: PolicyModel, source: string | undefined, ownsDevice: boolean) {
    this.model = model
    this.source = source
    this.#ownsDevice = ownsDevice
  }

  /**
   * Loads a Hugging Face folder (Qwen2, Qwen3, Llama), or a model of the hub as `hf:owner/name[@revision]`. The weights
   * are read piece by piece: no more than the parameters on the device and some MiB are ever held.
   *
   * @throws {ModelFileError} for files that are missing, torn, hostile or of an architecture that luffy does not have
   * @throws {OutOfMemoryError} when the parameters do not fit
   */
  static async load(folder: string, options: PolicyLoadOptions = {}): Promise<Policy> {
    const given = checkOptions(options, 'Policy.load', [
      'device',
      'dtype',
      'ropeTheta',
      'maxPositions',
      'allowNonFinite',
      'signal',
      'onProgress',
      'onDownload',
      'onWarning',
    ])
    checkPath(folder, 'folder')
    const dtype = checkChoice(given.dtype ?? 'float32', 'dtype', computeDtypes)
    const { ropeTheta, maxPositions } = options
    const allowNonFinite = checkBoolean(given.allowNonFinite ?? false, 'allowNonFinite')
    const onProgress = checkCallback<LoadProgress>(given.onProgress, 'onProgress')
    const onDownload = checkCallback<DownloadProgress>(given.onDownload, 'onDownload')
    const onWarning = checkCallback<string>(given.onWarning, 'onWarning')
    const signal = checkSignal(given.signal, 'signal')
    return withDevice(given.device, async (device, owned) => {
      checkComputes(device.name, dtype)
      const source = await modelFolder(folder, { signal, onDownload })
      const checkpoint = await Checkpoint.open(source, { ropeTheta, maxPositions })
      try {
        for (const warning of checkpoint.warnings) await tell(onWarning, warning)
        device.checkMemory(bytesPerParameter(dtype) * checkpoint.layout.size, `${folder}: the policy`)
        const values = await filled(device, checkpoint.layout.size, sink =>
          checkpoint.read(sink, { allowNonFinite, signal, onProgress }),
        )
        return new Policy(new PolicyModel(device, checkpoint.config, values, dtype), source, owned)
      } finally {
        await checkpoint.close()
      }
    })
  }

  /**
   * A new policy with random weights.
   *
   * @param config names and defaults as in `PolicyOptions`, or the content of a config.json
   * @throws {ConfigError} for unknown names; RangeError and TypeError for wrong values
   */
  static async create(config: PolicyOptions | object, options: PolicyCreateOptions = {}): Promise<Policy> {
    const given = checkOptions(options, 'Policy.create', ['device', 'dtype', 'seed'])
    const dtype = checkChoice(given.dtype ?? 'float32', 'dtype', computeDtypes)
    const resolved = policyConfigFrom(config)
    const seed = checkInteger(given.seed ?? 0, 'seed')
    return withDevice(given.device, async (device, owned) => {
      checkComputes(device.name, dtype)
      const layout = parameterLayout(resolved)
      device.checkMemory(bytesPerParameter(dtype) * layout.size, 'the policy')
      const values = await filled(device, layout.size, sink =>
        initializeParameters(resolved, layout, seed, sink),
      )
      return new Policy(new PolicyModel(device, resolved, values, dtype), undefined, owned)
    })
  }

  get config(): PolicyConfig {
    return this.model.config
  }

  get device(): Device {
    return this.model.device
  }

  get disposed(): boolean {
    return this.#disposed
  }

  get parameterCount(): number {
    return this.model.layout.parameterCount
  }

  /**
   * Continues prompts (token ids). Completions come in the order of the prompts, samples of a prompt side by side;
   * no prompts give none.
   *
   * @throws {AbortedError} when the signal fires, unless returnPartial
   * @throws {NonFiniteError} when the policy's logits are not finite
   * @throws {BusyError} while the policy is being trained
   */
  async sample(prompts: readonly Int32Array[], options: SampleOptions = {}): Promise<Completion[]> {
    const { vocabSize, maxPositions } = this.config
    const checked = checkArray(prompts, 'prompts', 'an array of Int32Array').map((prompt, i) => {
      const tokens = checkTokens(prompt, `prompts[${i}]`, vocabSize)
      if (tokens.length === 0 || tokens.length >= maxPositions) {
        throw new RangeError(
          `prompts[${i}]: expected from 1 to ${maxPositions - 1} tokens (the policy has ${maxPositions} positions), got ${tokens.length}`,
        )
      }
      return tokens.slice()
    })
    const resolved = resolveSampleOptions(options, checked.length, this.config)
    return this.#reading(() => sampleCompletions(this.model, checked, resolved))
  }

  /**
   * Log-probabilities of given tokens, and the entropy at each.
   *
   * @param sequences token ids, of which the first `promptLength` (at least 1) are the prompt
   * @returns one entry per sequence, over the tokens after the prompt
   */
  async logProbs(
    sequences: readonly { tokens: Int32Array; promptLength: number }[],
    options: { temperature?: number; signal?: AbortSignal } = {},
  ): Promise<SequenceLogProbs[]> {
    const given = checkOptions(options, 'logProbs', ['temperature', 'signal'])
    const temperature = checkNumber(given.temperature ?? 1, 'temperature', temperatureRange)
    const signal = checkSignal(given.signal, 'signal')
    const checked = checkArray(sequences, 'sequences').map((sequence, i) =>
      checkSequence(sequence, `sequences[${i}]`, this.config),
    )
    return this.#reading(() =>
      this.model.logProbs(checked, temperature, () => throwIfAborted(signal, 'logProbs')),
    )
  }

  /** Writes a Hugging Face folder, which transformers and vLLM read; an existing file of a name is replaced. */
  async save(folder: string, options: PolicySaveOptions = {}): Promise<void> {
    const given = checkOptions(options, 'Policy.save', ['dtype', 'tokenizerFrom', 'maxShardBytes'])
    checkPath(folder, 'folder')
    const dtype = checkChoice(given.dtype ?? 'float32', 'dtype', checkpointDtypes)
    const maxShardBytes = checkInteger(given.maxShardBytes ?? 5e9, 'maxShardBytes', { min: 1 })
    const { tokenizerFrom } = given
    if (tokenizerFrom !== undefined && tokenizerFrom !== null && typeof tokenizerFrom !== 'string') {
      throw new TypeError(`tokenizerFrom: expected a folder or null, got ${describeValue(tokenizerFrom)}`)
    }
    await this.#reading(async () => {
      const { device, model } = this
      await writeCheckpoint(
        folder,
        this.config,
        (start, count) => device.readRange(model.values, start, count),
        {
          dtype,
          maxShardBytes,
        },
      )
      const tokenizer = tokenizerFrom === undefined ? this.source : tokenizerFrom
      if (typeof tokenizer === 'string') await copyTokenizer(tokenizer, folder)
    })
  }

  /** Runs `body` with the policy to itself. Throws BusyError while it is in use. */
  async exclusively<Result>(what: string, body: () => Promise<Result>): Promise<Result> {
    this.#checkLive()
    if (this.#training || this.#readers > 0) {
      throw new BusyError(`${what}: the policy is ${this.#training ? 'being trained' : 'being read'}`, {
        hint: 'await the call that is running',
      })
    }
    this.#training = true
    try {
      return await this.#tracked(body)
    } finally {
      this.#training = false
    }
  }

  /** Resolves when no call is running, whatever came of those that were. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#running)
  }

  /** Frees the weights; waits for work in progress. Twice is no fault. */
  async dispose(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    await this.idle()
    if (this.device.closed) return
    await this.device.synchronize().catch(() => {}) // reported to whoever waited for a result
    if (!this.device.closed) this.model.dispose()
    if (this.#ownsDevice) await this.device.dispose()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose()
  }

  async #reading<Result>(body: () => Promise<Result>): Promise<Result> {
    this.#checkLive()
    if (this.#training) {
      throw new BusyError('the policy is being trained', { hint: 'await trainStep first' })
    }
    this.#readers += 1
    try {
      return await this.#tracked(body)
    } finally {
      this.#readers -= 1
    }
  }

  async #tracked<Result>(body: () => Promise<Result>): Promise<Result> {
    const work = body()
    this.#running.add(work)
    try {
      return await work
    } finally {
      this.#running.delete(work)
    }
  }

  #checkLive(): void {
    if (this.#disposed) throw new DisposedError('the policy was disposed')
  }
}

/** A float32 vector of the device that `fill` writes piece by piece: in JavaScript's memory stands a piece of it. */
async function filled(
  device: Device,
  size: number,
  fill: (sink: FlatSink) => Promise<void>,
): Promise<Tensor> {
  const values = device.keep(device.zeros([size]))
  try {
    const upload = new Upload(values)
    await fill((start, piece) => upload.write(start, piece))
    return values
  } catch (error) {
    values.dispose()
    throw error
  }
}

/** Runs `body` on the device that was given, or on one that it opens; that one is closed if `body` fails. */
async function withDevice<Result>(
  given: unknown,
  body: (device: Device, owned: boolean) => Promise<Result>,
): Promise<Result> {
  if (given instanceof Device) return body(given, false)
  if (given !== undefined && typeof given !== 'string') {
    throw new ConfigError(`device: expected a Device or its name, got ${describeValue(given)}`)
  }
  const device = await Device.open(given ?? 'auto')
  try {
    return await body(device, true)
  } catch (error) {
    await device.dispose().catch(() => {})
    throw error
  }
}
