// Writes a policy as a Hugging Face model folder: config.json, generation_config.json, the weights in one file or in
// shards with an index, and copies of the tokenizer's files. Each file is replaced as a whole.
import { readdir, realpath, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { LuffyError, ModelFileError } from '../errors.js'
import {
  checkFreeSpace,
  DurableFile,
  type FileRecord,
  makeFolder,
  syncDirectory,
  writeError,
  writeFileDurable,
} from '../io/atomic.js'
import { folderProblem } from '../io/folders.js'
import { exists, openRegularFile, readFully } from '../io/regular-file.js'
import { checkInteger } from '../options.js'
import { indexFileName, singleFileName } from './checkpoint-files.js'
import type { PolicyConfig } from './config.js'
import { toGenerationConfig, toHuggingFace } from './hugging-face-config.js'
import { type Parameter, parameterLayout } from './parameters.js'
import type { SafetensorsDtype } from './safetensors.js'
import { type TensorToWrite, tensorBytes, writeSafetensors } from './safetensors-write.js'

export type CheckpointDtype = 'float32' | 'bfloat16' | 'float16'

export const checkpointDtypes = ['float32', 'bfloat16', 'float16'] as const

/** The files that a tokenizer and its template consist of; they go with the weights. */
export const tokenizerFileNames: readonly string[] = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'chat_template.json',
]

export interface WriteCheckpointOptions {
  /** Type of the written weights; float32 by default. */
  dtype?: CheckpointDtype | undefined
  /** Weights go to several files where they are larger than this; 5e9 by default. */
  maxShardBytes?: number | undefined
  /** A folder whose tokenizer files are copied. */
  copyFrom?: string | undefined
  signal?: AbortSignal | undefined
}

/** The flat buffer, or what gives a range of it: `count` elements from `start` on. */
export type FlatSource =
  | Float32Array
  | ((start: number, count: number) => Float32Array | Promise<Float32Array>)

const dtypeNames: Readonly<Record<CheckpointDtype, SafetensorsDtype>> = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
}

/** Writes the folder, which is made where it is not there. Returns what was written, for a manifest. */
export async function writeCheckpoint(
  folder: string,
  config: PolicyConfig,
  flat: FlatSource,
  options: WriteCheckpointOptions = {},
): Promise<FileRecord[]> {
  const layout = parameterLayout(config)
  if (typeof flat !== 'function' && flat.length !== layout.size) {
    throw new RangeError(`flat: expected a length of ${layout.size}, got ${flat.length}`)
  }
  const dtype = options.dtype ?? 'float32'
  const maxShardBytes = checkInteger(options.maxShardBytes ?? 5e9, 'maxShardBytes', { min: 1 })
  const shards = shardsOf(layout.parameters, dtypeNames[dtype], maxShardBytes)
  await makeFolder(folder)
  await checkFreeSpace(folder, layout.parameterCount * (dtype === 'float32' ? 4 : 2) + (1 << 20))

  const records: FileRecord[] = []
  const put = async (name: string, content: unknown) => {
    records.push(await writeFileDurable(join(folder, name), `${JSON.stringify(content, null, 2)}\n`))
  }
  for (const [index, parameters] of shards.entries()) {
    const tensors = parameters.map(parameter => tensorOf(parameter, dtypeNames[dtype], flat))
    const path = join(folder, shardName(index, shards.length))
    records.push(await writeSafetensors(path, tensors, { signal: options.signal }))
  }
  if (shards.length > 1) await put(indexFileName, indexOf(shards, dtypeNames[dtype]))
  await put('generation_config.json', toGenerationConfig(config))
  await put('config.json', toHuggingFace(config, dtype))
  await removeStaleWeights(folder, shards.length)
  if (options.copyFrom !== undefined) records.push(...(await copyTokenizer(options.copyFrom, folder)))
  return records
}

function tensorOf(
  { name, offset, size, shape }: Parameter,
  dtype: SafetensorsDtype,
  flat: FlatSource,
): TensorToWrite {
  const data =
    typeof flat === 'function'
      ? (start: number, count: number) => flat(offset + start, count)
      : flat.subarray(offset, offset + size)
  return { name, dtype, shape, data }
}

// Sorted by name, as Hugging Face writes them, and cut where the next tensor would exceed the limit.
function shardsOf(
  parameters: readonly Parameter[],
  dtype: SafetensorsDtype,
  maxBytes: number,
): Parameter[][] {
  const sorted = [...parameters].sort((a, b) => (a.name < b.name ? -1 : 1))
  const shards: Parameter[][] = [[]]
  let bytes = 0
  for (const parameter of sorted) {
    const more = tensorBytes(dtype, parameter.shape)
    if (bytes > 0 && bytes + more > maxBytes) {
      shards.push([])
      bytes = 0
    }
    shards.at(-1)!.push(parameter)
    bytes += more
  }
  return shards
}

function shardName(index: number, count: number): string {
  const digits = (value: number) => String(value).padStart(5, '0')
  return count === 1 ? singleFileName : `model-${digits(index + 1)}-of-${digits(count)}.safetensors`
}

function indexOf(shards: readonly Parameter[][], dtype: SafetensorsDtype): unknown {
  const files = shards.flatMap((parameters, index) =>
    parameters.map(({ name }) => [name, shardName(index, shards.length)] as const),
  )
  const sizes = shards.flat().map(({ shape }) => tensorBytes(dtype, shape))
  return {
    metadata: { total_size: sizes.reduce((sum, size) => sum + size, 0) },
    weight_map: Object.fromEntries(files),
  }
}

// A folder that held another set of weight files must not offer both: readers prefer the single file.
async function removeStaleWeights(folder: string, shardCount: number): Promise<void> {
  const current = new Set(Array.from({ length: shardCount }, (_, index) => shardName(index, shardCount)))
  if (shardCount > 1) current.add(indexFileName)
  const isWeights = /^model(?:-\d{5}-of-\d{5})?\.safetensors$|^model\.safetensors\.index\.json$/
  const stale = (await readdir(folder)).filter(name => isWeights.test(name) && !current.has(name))
  try {
    for (const name of stale) await unlink(join(folder, name))
    if (stale.length > 0) await syncDirectory(folder)
  } catch (error) {
    throw await writeError(error, folder, 0)
  }
}

/** Copies the tokenizer files that a folder has to another folder. */
export async function copyTokenizer(from: string, to: string): Promise<FileRecord[]> {
  const records: FileRecord[] = []
  const problem = await folderProblem(from)
  if (problem !== undefined) throw new ModelFileError(`${from}: ${problem}`, { path: from })
  if ((await realpath(from)) === (await realpath(to))) return records
  for (const name of tokenizerFileNames) {
    const path = join(from, name)
    if (await exists(path)) records.push(await copyFile(path, join(to, name), from))
  }
  return records
}

async function copyFile(from: string, to: string, within: string): Promise<FileRecord> {
  const { handle, size } = await openRegularFile(from, { within })
  try {
    const file = await DurableFile.create(to)
    try {
      const piece = Buffer.alloc(Math.min(size, 1 << 20))
      for (let start = 0; start < size; start += piece.byteLength) {
        const part = piece.subarray(0, Math.min(piece.byteLength, size - start))
        await readFully(handle, part, start, from)
        await file.write(part)
      }
      return await file.commit()
    } catch (error) {
      await file.abort()
      throw LuffyError.isInstance(error) ? error : await writeError(error, to, size)
    }
  } finally {
    await handle.close()
  }
}
