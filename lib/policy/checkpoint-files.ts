// A Hugging Face model folder to and from the flat buffer of a policy's parameters. Everything that can be wrong with
// names, types and shapes is found when the folder is opened, before a byte of the weights is read or allocated for.
import { join } from 'node:path'
import { tell } from '../callback.js'
import { ModelFileError } from '../errors.js'
import { exists, plainFilePath, readRegularFile } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import { printable } from '../printable.js'
import { type PolicyConfig, withOverrides } from './config.js'
import { readPolicyConfig } from './hugging-face-config.js'
import { JsonReader } from './json.js'
import { type FlatSink, type Parameter, type ParameterLayout, parameterLayout } from './parameters.js'
import { SafetensorsFile } from './safetensors-read.js'

export const singleFileName = 'model.safetensors'
export const indexFileName = 'model.safetensors.index.json'

const maxIndexBytes = 64 * 1024 * 1024
const maxShards = 4096
/** Names listed in one message. */
const listed = 10

export interface OpenCheckpointOptions {
  /** Another rotary base than config.json's. */
  ropeTheta?: number | undefined
  /** Another longest sequence than config.json's. */
  maxPositions?: number | undefined
  /** Tensors that the policy does not have are an error, not a warning. */
  strict?: boolean | undefined
}

export interface ReadCheckpointOptions {
  /** Take NaN and infinities as they are. */
  allowNonFinite?: boolean | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((progress: LoadProgress) => unknown) | undefined
}

export interface LoadProgress {
  /** Tensors read, and in all. */
  tensors: number
  totalTensors: number
  /** Of the last one. */
  name: string
}

/** An open model folder: its configuration and its files, checked. */
export class Checkpoint {
  readonly folder: string
  readonly config: PolicyConfig
  readonly layout: ParameterLayout
  /** What a user may want to know: tensors in the files that the policy does not use. */
  readonly warnings: readonly string[]
  readonly #files: readonly SafetensorsFile[]
  readonly #places: ReadonlyMap<string, SafetensorsFile>

  private constructor(folder: string, config: PolicyConfig, opened: OpenedFiles, strict: boolean) {
    this.folder = folder
    this.config = config
    this.layout = parameterLayout(config)
    this.#files = opened.files
    this.#places = opened.places
    checkTensors(folder, this.layout, opened.places)
    const extra = extraNames(this.layout, opened)
    if (extra.length > 0 && strict) {
      throw new ModelFileError(
        `${folder}: ${extra.length} tensors that the policy does not have: ${list(extra)}`,
        {
          path: folder,
          details: { extra: extra.slice(0, listed) },
        },
      )
    }
    this.warnings =
      extra.length === 0
        ? []
        : [
            printable(
              `${folder}: ${extra.length} tensors are not used by a ${config.architecture} policy: ${list(extra)}`,
            ),
          ]
  }

  static async open(folder: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
    const { ropeTheta, maxPositions } = options
    const config = withOverrides(await readPolicyConfig(folder), { ropeTheta, maxPositions })
    const opened = await openWeightFiles(folder)
    try {
      return new Checkpoint(folder, config, opened, options.strict ?? false)
    } catch (error) {
      await closeAll(opened.files)
      throw error
    }
  }

  /**
   * Reads every parameter, in pieces, to its place in the flat buffer; nothing is put into the gaps between them.
   * Weights that are NaN or infinite are an error unless they are allowed.
   */
  async read(sink: FlatSink, options: ReadCheckpointOptions = {}): Promise<void> {
    const { parameters } = this.layout
    const { signal } = options
    for (const [index, parameter] of parameters.entries()) {
      const { name, offset } = parameter
      const file = this.#places.get(name)!
      const nonFinite = await file.eachFloat32(name, (start, values) => sink(offset + start, values), {
        signal,
      })
      if (nonFinite > 0 && options.allowNonFinite !== true)
        throw nonFiniteError(file.path, parameter, nonFinite)
      await tell(options.onProgress, { tensors: index + 1, totalTensors: parameters.length, name })
    }
  }

  /** Closes the files; a second call does nothing. */
  async close(): Promise<void> {
    await closeAll(this.#files)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

interface OpenedFiles {
  files: SafetensorsFile[]
  /** The file of each tensor, as the index (or the one file) has it. */
  places: Map<string, SafetensorsFile>
}

async function openWeightFiles(folder: string): Promise<OpenedFiles> {
  const single = join(folder, singleFileName)
  if (await exists(single)) {
    const file = await SafetensorsFile.open(single, { within: folder })
    return { files: [file], places: new Map([...file.tensors.keys()].map(name => [name, file])) }
  }
  const indexPath = join(folder, indexFileName)
  if (!(await exists(indexPath))) {
    const isPickled = await exists(join(folder, 'pytorch_model.bin'))
    throw new ModelFileError(`${folder}: neither ${singleFileName} nor ${indexFileName} is there`, {
      hint: isPickled
        ? 'pytorch_model.bin is a pickle, which is not read: convert the model to safetensors'
        : 'give the folder of a Hugging Face model',
      path: folder,
    })
  }
  const shardOf = parseIndex(await readRegularFile(indexPath, maxIndexBytes, { within: folder }), indexPath)
  return openShards(folder, indexPath, shardOf)
}

async function openShards(
  folder: string,
  indexPath: string,
  shardOf: ReadonlyMap<string, string>,
): Promise<OpenedFiles> {
  const shards = new Map<string, SafetensorsFile>()
  const places = new Map<string, SafetensorsFile>()
  try {
    for (const [name, shard] of shardOf) {
      let file = shards.get(shard)
      if (file === undefined) {
        if (shards.size === maxShards) throw new ModelFileError(`${indexPath}: more than ${maxShards} files`)
        file = await openShard(folder, indexPath, shard)
        shards.set(shard, file)
      }
      if (!file.tensors.has(name)) {
        throw new ModelFileError(
          `${indexPath}: tensor ${describeValue(name)} is not in ${shard}, where it should be`,
          {
            path: indexPath,
            details: { tensor: name, file: shard },
          },
        )
      }
      places.set(name, file)
    }
  } catch (error) {
    await closeAll(shards.values())
    throw error
  }
  return { files: [...shards.values()], places }
}

async function openShard(folder: string, indexPath: string, shard: string): Promise<SafetensorsFile> {
  const path = plainFilePath(folder, shard)
  if (path === undefined) {
    throw new ModelFileError(
      `${indexPath}: expected the name of a file in this folder, got ${describeValue(shard)}`,
      {
        path: indexPath,
        details: { file: shard },
      },
    )
  }
  if (!(await exists(path))) {
    throw new ModelFileError(`${path}: no such file`, {
      hint: `${indexFileName} names it; fetch the whole model`,
      path,
      details: { file: shard },
    })
  }
  return SafetensorsFile.open(path, { within: folder })
}

/** The file of each tensor, from the text of an index. */
export function parseIndex(text: Uint8Array | string, source: string): Map<string, string> {
  const reader = new JsonReader(text, { source })
  const shardOf = new Map<string, string>()
  let hasMap = false
  reader.readObject(key => {
    if (key !== 'weight_map') {
      reader.readValue()
      return
    }
    hasMap = true
    reader.readObject(name => {
      shardOf.set(name, reader.readString(`a file name for ${describeValue(name)}`))
    })
  })
  reader.end()
  if (!hasMap) throw new ModelFileError(`${source}: weight_map is missing`, { path: source })
  return shardOf
}

// All that is wrong at once: a user fixes the cause, not one tensor after the other.
function checkTensors(
  folder: string,
  layout: ParameterLayout,
  places: ReadonlyMap<string, SafetensorsFile>,
): void {
  const missing: string[] = []
  const wrong: string[] = []
  for (const { name, shape } of layout.parameters) {
    const file = places.get(name)
    if (file === undefined) {
      missing.push(name)
      continue
    }
    const entry = file.entry(name)
    const sameShape = entry.shape.length === shape.length && entry.shape.every((size, i) => size === shape[i])
    if (!sameShape) wrong.push(`${name}: got [${entry.shape.join(', ')}], expected [${shape.join(', ')}]`)
    else if (!['F32', 'F16', 'BF16'].includes(entry.dtype)) {
      wrong.push(`${name}: got ${entry.dtype}, expected F32, F16 or BF16`)
    }
  }
  if (missing.length === 0 && wrong.length === 0) return
  const problems: string[] = []
  if (missing.length > 0) problems.push(`${missing.length} tensors are missing: ${list(missing)}`)
  if (wrong.length > 0)
    problems.push(`${wrong.length} tensors have another shape or type: ${list(wrong, '; ')}`)
  throw new ModelFileError(`${folder}: ${problems.join('; ')}`, {
    hint: 'config.json and the weights must be those of one model',
    path: folder,
    details: { missing: missing.slice(0, listed), wrong: wrong.slice(0, listed) },
  })
}

function extraNames(layout: ParameterLayout, { files, places }: OpenedFiles): string[] {
  const extra: string[] = []
  for (const file of files) {
    for (const name of file.tensors.keys()) {
      // Older files hold the rotary frequencies, which are computed.
      if (name.endsWith('.rotary_emb.inv_freq')) continue
      if (!layout.byName.has(name) || places.get(name) !== file) extra.push(name)
    }
  }
  return extra
}

function nonFiniteError(path: string, { name, size }: Parameter, count: number): ModelFileError {
  return new ModelFileError(
    `${path}: tensor ${JSON.stringify(name)}: ${count} of ${size} values are NaN or infinite`,
    {
      hint: 'the model is damaged: get it again; --allow-nonfinite of sample and eval, allowNonFinite of Policy.load, take it all the same',
      path,
      details: { tensor: name, count },
    },
  )
}

function list(names: readonly string[], separator = ', '): string {
  const more = names.length > listed ? `${separator}and ${names.length - listed} more` : ''
  return names.slice(0, listed).join(separator) + more
}

async function closeAll(files: Iterable<SafetensorsFile>): Promise<void> {
  for (const file of files) await file.close()
}
