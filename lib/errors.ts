// Every error that luffy throws on purpose, except wrong arguments (RangeError and TypeError, see options.ts).
// A message says what happened, where, what came and what was expected; the hint says what to do. Text of others in it
// (paths, names in files) is shown with its control characters escaped: a terminal may be where it ends.

import { printable, printableLines } from './printable.js'

export interface LuffyErrorOptions {
  /** What to do about it; it ends the message. */
  hint?: string
  /** The file or folder concerned. */
  path?: string
  /** Facts for programs, such as the tensor's name or the bytes needed. */
  details?: Readonly<Record<string, unknown>>
  /** A narrower code than that of the class, such as CUDA_UNAVAILABLE. */
  code?: string
  cause?: unknown
}

// Two copies of the package in one process have different classes: the marker is shared where `instanceof` is not.
const marker = Symbol.for('luffy.error')

/** Exit codes of the command (0 is success, 130 and 143 a stop by a signal after a saved checkpoint). */
export const exitCodes = {
  bug: 1,
  usage: 2,
  modelOrData: 3,
  checkpoint: 4,
  diverged: 5,
  outOfMemory: 6,
  device: 7,
  aborted: 130,
} as const

export class LuffyError extends Error {
  static readonly kind: string = 'LuffyError'
  static readonly code: string = 'LUFFY_ERROR'
  static readonly exitCode: number = exitCodes.bug

  readonly code: string
  readonly exitCode: number
  readonly hint: string | undefined
  readonly path: string | undefined
  readonly details: Readonly<Record<string, unknown>> | undefined

  constructor(message: string, options: LuffyErrorOptions = {}) {
    super(
      printable(options.hint === undefined ? message : `${message}; ${options.hint}`),
      options.cause === undefined ? undefined : { cause: printableCause(options.cause) },
    )
    const type = new.target
    this.code = options.code ?? type.code
    this.exitCode = type.exitCode
    this.hint = options.hint === undefined ? undefined : printable(options.hint)
    this.path = options.path
    this.details = options.details
    Object.defineProperty(this, 'name', { value: type.kind, configurable: true, writable: true })
    Object.defineProperty(this, marker, { value: kindsOf(type) })
  }

  /** Like `instanceof`, but it also knows the errors of another copy of this package. */
  static isInstance<T extends LuffyError>(
    this: { readonly kind: string; readonly prototype: T },
    value: unknown,
  ): value is T {
    if (typeof value !== 'object' || value === null) return false
    const kinds: unknown = (value as Record<symbol, unknown>)[marker]
    // biome-ignore lint/complexity/noThisInStatic: each class asks for its own kind
    return Array.isArray(kinds) && kinds.includes(this.kind)
  }
}

/** An error of the system whose message quotes a path with control characters, as a copy that escapes them. */
function printableCause(cause: unknown): unknown {
  if (!(cause instanceof Error) || printable(cause.message) === cause.message) return cause
  const { name, stack, code } = cause as NodeJS.ErrnoException
  const copy = Object.assign(new Error(printable(cause.message)), code === undefined ? {} : { code })
  Object.defineProperty(copy, 'name', { value: name, configurable: true, writable: true })
  // The stack begins with the message: what of it is not the engine's own lines is escaped as one line.
  const frames = (stack ?? '').slice((stack ?? '').indexOf('\n    at '))
  Object.defineProperty(copy, 'stack', {
    value: `${name}: ${copy.message}${printableLines(frames)}`,
    configurable: true,
    writable: true,
  })
  return copy
}

function kindsOf(type: typeof LuffyError): readonly string[] {
  const kinds: string[] = []
  let current: typeof LuffyError | null = type
  while (typeof current?.kind === 'string') {
    kinds.push(current.kind)
    current = Object.getPrototypeOf(current) as typeof LuffyError | null
  }
  return kinds
}

/** An option or a configuration file that cannot be meant. */
export class ConfigError extends LuffyError {
  static override readonly kind = 'ConfigError'
  static override readonly code = 'CONFIG_INVALID'
  static override readonly exitCode = exitCodes.usage
}

/** A model folder that cannot be loaded: config.json, the index or the weights. */
export class ModelFileError extends LuffyError {
  static override readonly kind = 'ModelFileError'
  static override readonly code = 'MODEL_FILE_INVALID'
  static override readonly exitCode = exitCodes.modelOrData
}

/** A tokenizer that cannot be read, or that does not fit the model. */
export class TokenizerError extends LuffyError {
  static override readonly kind = 'TokenizerError'
  static override readonly code = 'TOKENIZER_MISMATCH'
  static override readonly exitCode = exitCodes.modelOrData
}

/** A chat template that fails or needs what luffy does not have. */
export class TemplateError extends LuffyError {
  static override readonly kind = 'TemplateError'
  static override readonly code = 'TEMPLATE_INVALID'
  static override readonly exitCode = exitCodes.modelOrData
}

/** A row of prompts or demonstrations that cannot be used. */
export class DataError extends LuffyError {
  static override readonly kind = 'DataError'
  static override readonly code = 'DATA_INVALID'
  static override readonly exitCode = exitCodes.modelOrData
}

/** A reward function that threw, or gave no number, for every response that it was asked about. */
export class RewardError extends LuffyError {
  static override readonly kind = 'RewardError'
  static override readonly code = 'REWARD_FAILED'
  static override readonly exitCode = exitCodes.modelOrData
}

/** A checkpoint or a run folder that cannot be written, read or trusted; a full disk. */
export class CheckpointError extends LuffyError {
  static override readonly kind = 'CheckpointError'
  static override readonly code = 'CHECKPOINT_INVALID'
  static override readonly exitCode = exitCodes.checkpoint
}

/** Training diverged: NaN or infinity in logits, or in gradients more often than the budget allows. */
export class NonFiniteError extends LuffyError {
  static override readonly kind = 'NonFiniteError'
  static override readonly code = 'NON_FINITE'
  static override readonly exitCode = exitCodes.diverged
}

/** Memory of a device or of the machine that could not be had. */
export class OutOfMemoryError extends LuffyError {
  static override readonly kind = 'OutOfMemoryError'
  static override readonly code = 'OUT_OF_MEMORY'
  static override readonly exitCode = exitCodes.outOfMemory
}

/** A device that is not there, or that failed. */
export class DeviceError extends LuffyError {
  static override readonly kind = 'DeviceError'
  static override readonly code = 'DEVICE_FAILED'
  static override readonly exitCode = exitCodes.device
}

/** A handle (device, policy, trainer, tensor) used after it was disposed. */
export class DisposedError extends LuffyError {
  static override readonly kind = 'DisposedError'
  static override readonly code = 'DISPOSED'
}

/** A call on a trainer or a policy that is already in a call which excludes it. */
export class BusyError extends LuffyError {
  static override readonly kind = 'BusyError'
  static override readonly code = 'BUSY'
}

/** Work given up because its AbortSignal fired; `cause` is the signal's reason. */
export class AbortedError extends LuffyError {
  static override readonly kind = 'AbortedError'
  static override readonly code = 'ABORTED'
  static override readonly exitCode = exitCodes.aborted
}

/** The native addon is not built, or cannot be loaded on this machine. */
export class NativeMissingError extends LuffyError {
  static override readonly kind = 'NativeMissingError'
  static override readonly code = 'NATIVE_MISSING'
  static override readonly exitCode = exitCodes.device
}

/** The exit code of the command for whatever was thrown; what luffy did not foresee is its own bug. */
export function exitCodeOf(error: unknown): number {
  return LuffyError.isInstance(error) ? error.exitCode : exitCodes.bug
}

/** Throws an AbortedError if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new AbortedError(`${what} was aborted`, { cause: signal.reason })
}
