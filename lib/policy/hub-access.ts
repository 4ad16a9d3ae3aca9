// How the hub is reached, which model is meant, and what its answers mean as errors. See hub.ts.
import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, LuffyError, ModelFileError, throwIfAborted } from '../errors.js'
import { describeValue } from '../options.js'

export interface Hub {
  endpoint: string
  cache: string
  token: string | undefined
  offline: boolean
}

export interface Reference {
  /** As it was given. */
  text: string
  /** owner/name */
  name: string
  revision: string
  /** Of the model, in the cache. */
  folder: string
}

const mostTokenBytes = 4096

export function hubOf(env: NodeJS.ProcessEnv): Hub {
  const path = (value: string) => (value.startsWith('~') ? join(homedir(), value.slice(1)) : value)
  const home = path(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'))
  const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '')
  if (!/^https?:\/\/[^\s]+$/.test(endpoint)) {
    throw new ConfigError(
      `HF_ENDPOINT: expected an address such as https://huggingface.co, got ${describeValue(endpoint)}`,
    )
  }
  return {
    endpoint,
    cache: path(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: tokenOf(env, home, path),
    offline: [env.HF_HUB_OFFLINE, env.TRANSFORMERS_OFFLINE].some(isOn),
  }
}

// As huggingface_hub finds it: the environment, then the file that `hf auth login` writes, unless that is turned off.
function tokenOf(env: NodeJS.ProcessEnv, home: string, path: (value: string) => string): string | undefined {
  const given = cleanToken(env.HF_TOKEN) ?? cleanToken(env.HUGGING_FACE_HUB_TOKEN)
  // The library refuses others, which would look as if the hub could not be reached.
  if (given !== undefined && !given.startsWith('hf_')) {
    throw new ConfigError('HF_TOKEN: expected a token, which begins with hf_, got another text', {
      hint: 'copy it from the settings of your account, or unset it',
    })
  }
  if (given !== undefined || isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return given
  const file = path(env.HF_TOKEN_PATH || join(home, 'token'))
  try {
    // A pipe would be waited for, and no token is long.
    const status = statSync(file)
    return status.isFile() && status.size <= mostTokenBytes
      ? cleanToken(readFileSync(file, 'utf8'))
      : undefined
  } catch {
    return undefined
  }
}

function cleanToken(text: string | undefined): string | undefined {
  return text?.replace(/[\r\n]/g, '').trim() || undefined
}

function isOn(value: string | undefined): boolean {
  return ['1', 'on', 'yes', 'true'].includes(value?.toLowerCase() ?? '')
}

export function parseReference(text: string, cache: string): Reference {
  const match = /^hf:([\w][\w.-]{0,95})\/([\w][\w.-]{0,95})(?:@([\w][\w./-]{0,199}))?$/.exec(text)
  const [, owner = '', name = '', revision = 'main'] = match ?? []
  const steps = [owner, name, ...revision.split('/')]
  if (match === null || steps.some(step => step === '' || step.includes('..') || step === '.')) {
    throw new ConfigError(
      `model: expected hf:owner/name or hf:owner/name@revision, got ${describeValue(text)}`,
    )
  }
  return { text, name: `${owner}/${name}`, revision, folder: join(cache, `models--${owner}--${name}`) }
}

// Only who asks for a model of the hub loads it.
export async function library(): Promise<typeof import('@huggingface/hub')> {
  try {
    return await import('@huggingface/hub')
  } catch (error) {
    throw new ModelFileError('models of the hub need the package @huggingface/hub, which cannot be loaded', {
      hint: 'npm install @huggingface/hub',
      cause: error,
    })
  }
}

export function access(hub: Hub, signal: AbortSignal | undefined) {
  return {
    hubUrl: hub.endpoint,
    ...(hub.token === undefined ? {} : { accessToken: hub.token }),
    fetch: ((input, init) => fetch(input, signal ? { ...init, signal } : init)) as typeof fetch,
  }
}

const unreachable = 'HUB_UNREACHABLE'

export function isUnreachable(error: unknown): boolean {
  return ModelFileError.isInstance(error) && error.code === unreachable
}

/** What the library, the network or the disk said, as an error of luffy's. */
export function hubError(
  error: unknown,
  reference: Reference,
  hub: Hub,
  signal: AbortSignal | undefined,
): unknown {
  if (LuffyError.isInstance(error)) return error
  throwIfAborted(signal, `fetching ${reference.text}`)
  const { statusCode } = error as { statusCode?: number }
  const details = statusCode === undefined ? {} : { details: { status: statusCode } }
  const fail = (problem: string, hint: string, code?: string) =>
    new ModelFileError(`${reference.text}: ${problem}`, {
      hint,
      path: reference.text,
      cause: error,
      ...details,
      ...(code === undefined ? {} : { code }),
    })
  const tokenHint =
    hub.token === undefined ? 'a private model needs a token in HF_TOKEN' : 'or your token may not see it'
  if (statusCode === 404 || (statusCode === 401 && hub.token === undefined)) {
    return fail(
      `${hub.endpoint} has no model ${reference.name}` +
        `${reference.revision === 'main' ? '' : ` of revision ${reference.revision}`}`,
      `check the name; ${tokenHint}`,
    )
  }
  if (statusCode === 401 || statusCode === 403) {
    const hint = 'accept its terms on the page of the model, and put a token of yours into HF_TOKEN'
    return fail(`${hub.endpoint} does not give it (${statusCode})`, hint)
  }
  const why = whyOf(error)
  if (statusCode !== undefined && statusCode < 500)
    return fail(`${hub.endpoint} answered ${why}`, 'try again later')
  const hint = 'check the connection; HF_HUB_OFFLINE=1 uses what the cache has'
  return fail(`${hub.endpoint} cannot be reached (${why})`, hint, unreachable)
}

function whyOf(error: unknown): string {
  const { statusCode, cause, message } = error as { statusCode?: number; cause?: unknown; message?: string }
  if (statusCode !== undefined) return String(statusCode)
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  return (code ?? message ?? String(error)).slice(0, 200)
}

export function notCached({ text, folder }: Reference, { offline }: Hub, problem: string): ModelFileError {
  return new ModelFileError(`${text}: ${folder} ${problem}${offline ? ', and HF_HUB_OFFLINE is set' : ''}`, {
    hint: 'fetch the model once with a connection, or give a folder',
    path: folder,
  })
}
