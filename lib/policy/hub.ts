// Models of the Hugging Face hub, as `hf:owner/name[@revision]`: the files that are needed of one commit, in the cache
// that all of Hugging Face's tools share (models--owner--name/{refs,blobs,snapshots}). The library speaks to the hub;
// what it sends is written here, so that a file is whole, and what the hub said it is, or not there.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ModelFileError, throwIfAborted } from '../errors.js'
import { makeFolder, writeFileDurable } from '../io/atomic.js'
import { exists, readRegularFile } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import { indexFileName, parseIndex, singleFileName } from './checkpoint-files.js'
import { tokenizerFileNames } from './checkpoint-write.js'
import {
  access,
  type Hub,
  hubError,
  hubOf,
  isUnreachable,
  library,
  notCached,
  parseReference,
  type Reference,
} from './hub-access.js'
import { type HubFile, Transfer, type TransferOptions } from './hub-transfer.js'

export type { DownloadProgress } from './hub-transfer.js'

/** Which files are wanted: config: config.json and generation_config.json; tokenizer: these and the tokenizer's; all. */
export type ModelParts = 'config' | 'tokenizer' | 'all'

export interface ModelFolderOptions extends TransferOptions {
  /** Default 'all'. */
  parts?: ModelParts
}

const prefix = 'hf:'
const configNames = ['config.json', 'generation_config.json']
const mostIndexBytes = 64 * 1024 * 1024

// A process sees one commit of a model, however often it asks and whatever is pushed meanwhile.
const commits = new Map<string, Promise<string>>()

export function isHubReference(model: string): boolean {
  return model.startsWith(prefix)
}

/**
 * The folder of a model: a path is itself, `hf:owner/name[@revision]` the snapshot in Hugging Face's cache, into which
 * what is missing is fetched. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to
 * Hugging Face's own tools.
 *
 * @throws {ConfigError} for what is no reference
 * @throws {ModelFileError} for a model or revision that the hub does not have or does not give, one that is not in the
 *   cache where the hub cannot be asked, and files that arrive damaged
 * @throws {AbortedError} when the signal fires
 */
export async function modelFolder(model: string, options: ModelFolderOptions = {}): Promise<string> {
  if (!isHubReference(model)) return model
  const hub = hubOf(process.env)
  const reference = parseReference(model, hub.cache)
  throwIfAborted(options.signal, `fetching ${model}`)
  const key = JSON.stringify([hub, model])
  let commit = commits.get(key)
  if (commit === undefined) {
    commit = commitOf(reference, hub, options.signal)
    commits.set(key, commit)
    commit.catch(() => commits.delete(key))
  }
  const snapshot = join(reference.folder, 'snapshots', await commit)
  const parts = options.parts ?? 'all'
  const isThere = (await missingOf(snapshot, parts)).length === 0
  if (!hub.offline) {
    try {
      await fetchFiles(reference, await commit, snapshot, parts, hub, options)
    } catch (error) {
      // Without a connection, what is there has to do.
      if (!isThere || !isUnreachable(error)) throw error
    }
  }
  const missing = await missingOf(snapshot, parts)
  if (missing.length === 0) return snapshot
  if (hub.offline) throw notCached(reference, hub, `lacks ${missing.join(', ')}`)
  throw new ModelFileError(`${model}: the model has no ${missing.join(', ')}`, {
    hint: 'luffy reads models of config.json and safetensors files',
    path: model,
  })
}

const isCommit = (text: unknown): text is string => typeof text === 'string' && /^[0-9a-f]{40}$/.test(text)

/** The commit that a revision means: what the hub says and, where it cannot be asked, what it last said. */
async function commitOf(reference: Reference, hub: Hub, signal: AbortSignal | undefined): Promise<string> {
  const { name, revision, folder } = reference
  if (isCommit(revision)) return revision
  const ref = join(folder, 'refs', revision)
  const known = await readFile(ref, 'utf8').then(
    text => text.trim(),
    () => undefined,
  )
  if (hub.offline) {
    if (isCommit(known)) return known
    throw notCached(reference, hub, `has no revision ${describeValue(revision)}`)
  }
  let sha: unknown
  try {
    const { modelInfo } = await library()
    ;({ sha } = await modelInfo({ name, revision, additionalFields: ['sha'], ...access(hub, signal) }))
  } catch (error) {
    const problem = hubError(error, reference, hub, signal)
    if (isUnreachable(problem) && isCommit(known)) return known
    throw problem
  }
  if (!isCommit(sha)) {
    throw new ModelFileError(`${reference.text}: ${hub.endpoint} names no commit, but ${describeValue(sha)}`)
  }
  if (sha !== known) {
    await makeFolder(dirname(ref))
    await writeFileDurable(ref, sha)
  }
  return sha
}

/** What a snapshot lacks: without config.json and weights there is no model; the rest a model may not have. */
async function missingOf(snapshot: string, parts: ModelParts): Promise<string[]> {
  const lacks = async (names: readonly string[]) => {
    const there = await Promise.all(names.map(name => exists(join(snapshot, name))))
    return names.filter((_, i) => !there[i])
  }
  const missing = await lacks(parts === 'config' ? ['config.json'] : ['config.json', 'tokenizer.json'])
  // A model without a tokenizer can be loaded all the same.
  const needed = parts === 'all' ? missing.filter(name => name === 'config.json') : missing
  if (parts !== 'all' || (await exists(join(snapshot, singleFileName)))) return needed
  if (!(await exists(join(snapshot, indexFileName)))) return [...needed, singleFileName]
  return [...needed, ...(await lacks(await shardsOf(snapshot)))]
}

async function shardsOf(snapshot: string): Promise<string[]> {
  const path = join(snapshot, indexFileName)
  const index = parseIndex(await readRegularFile(path, mostIndexBytes, { within: snapshot }), path)
  return [...new Set(index.values())]
}

/** Fetches what is wanted and not there yet. */
async function fetchFiles(
  reference: Reference,
  commit: string,
  snapshot: string,
  parts: ModelParts,
  hub: Hub,
  options: ModelFolderOptions,
): Promise<void> {
  const files = await listed(reference, commit, hub, options.signal)
  const wanted = new Set([...configNames, ...(parts === 'config' ? [] : tokenizerFileNames)])
  const transfer = new Transfer(reference, commit, snapshot, hub, options)
  if (parts === 'all') {
    if (files.has(singleFileName)) wanted.add(singleFileName)
    else if (files.has(indexFileName)) {
      await transfer.fetch([files.get(indexFileName)!])
      for (const shard of await shardsOf(snapshot)) wanted.add(shard)
    }
  }
  await transfer.fetch([...files.values()].filter(({ path }) => wanted.has(path)))
}

/** The files of the model's own folder; names that lead elsewhere are not there. */
async function listed(
  reference: Reference,
  commit: string,
  hub: Hub,
  signal: AbortSignal | undefined,
): Promise<Map<string, HubFile>> {
  const files = new Map<string, HubFile>()
  try {
    const { listFiles } = await library()
    const repo = { type: 'model', name: reference.name } as const
    for await (const entry of listFiles({ repo, revision: commit, ...access(hub, signal) })) {
      const { path, size, type } = entry
      const etag = entry.lfs?.oid ?? entry.oid
      if (type !== 'file' || !/^[\w][\w.-]*$/.test(path)) continue
      if (!Number.isSafeInteger(size) || size < 0 || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag ?? '')) {
        throw new ModelFileError(
          `${reference.text}: ${hub.endpoint} lists ${describeValue(path)} without its size or sum`,
        )
      }
      files.set(path, { path, size, etag: etag as string, large: entry.lfs !== undefined })
    }
  } catch (error) {
    throw hubError(error, reference, hub, signal)
  }
  return files
}
