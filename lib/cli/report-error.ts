// The end of a command that fails: one line on stderr, the last one, and an exit code (docs/reliability.md).
import { inspect } from 'node:util'
import { CommanderError } from 'commander'
import { exitCodes, LuffyError } from '../errors.js'
import { printable, printableLines } from '../report/text.js'

export interface ErrorReport {
  /** Class of the error. */
  error: string
  code: string
  /** Without the hint. */
  message: string
  exitCode: number
  hint?: string
  path?: string
  details?: unknown
}

/** What a thrown value means for the user of the command. `usageHint` ends the message of a wrong command line. */
export function describeError(error: unknown, usageHint?: string): ErrorReport {
  if (LuffyError.isInstance(error)) {
    const { name, code, message, exitCode, hint, path, details } = error
    return {
      error: name,
      code,
      message:
        hint !== undefined && message.endsWith(`; ${hint}`) ? message.slice(0, -hint.length - 2) : message,
      exitCode,
      ...(hint === undefined ? {} : { hint }),
      ...(path === undefined ? {} : { path }),
      ...(details === undefined ? {} : { details }),
    }
  }
  if (error instanceof CommanderError) {
    const message = usageMessage(error.message)
    return {
      error: 'UsageError',
      code: 'USAGE',
      message: usageHint && !message.includes('did you mean') ? `${message}; ${usageHint}` : message,
      exitCode: exitCodes.usage,
    }
  }
  if (!(error instanceof Error)) return bug('Error', String(error))
  if (isWrongArgument(error)) {
    return {
      error: error.name,
      code: 'ARGUMENT_INVALID',
      message: error.message,
      exitCode: exitCodes.usage,
    }
  }
  const { code } = error as NodeJS.ErrnoException
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) {
    return { error: error.name, code, message: error.message, exitCode: exitCodes.checkpoint }
  }
  return bug(error.name, error.message)
}

/** Writes the one line, or its JSON; above it the stack where LUFFY_DEBUG asks for it. Returns the exit code. */
export function reportError(report: ErrorReport, error: unknown, json: boolean): number {
  if (process.env.LUFFY_DEBUG && process.env.LUFFY_DEBUG !== '0')
    process.stderr.write(`${printableLines(inspect(error))}\n`)
  const { message, hint } = report
  const line = printable(hint === undefined ? message : `${message}; ${hint}`)
  // A stop that was asked for is no complaint of luffy's.
  process.stderr.write(`${json ? jsonLine(report) : report.code === 'ABORTED' ? line : `luffy: ${line}`}\n`)
  return report.exitCode
}

function jsonLine(report: ErrorReport): string {
  try {
    return jsonText(report)
  } catch {
    // Details that JSON cannot hold (a cycle, a BigInt) are for programs in this process.
    return jsonText({ ...report, details: undefined })
  }
}

// JSON escapes C0 controls itself; the others are shown escaped as in text.
function jsonText(value: unknown): string {
  return printable(JSON.stringify(value))
}

function bug(name: string, message: string): ErrorReport {
  return {
    error: name,
    code: 'INTERNAL',
    message: `internal error: ${message}; LUFFY_DEBUG=1 shows the stack, please report it`,
    exitCode: exitCodes.bug,
  }
}

// The checks of lib/options.ts name the argument: `topP: expected a finite number ..., got 2`. An engine's own
// TypeError (`Cannot read properties of undefined`) does not, and is a bug.
function isWrongArgument(error: Error): boolean {
  return (
    (error instanceof RangeError || error instanceof TypeError) && /^[^\s:]+: expected /.test(error.message)
  )
}

/** Commander's `error: unknown option '--sed'\n(Did you mean --seed?)` as one plain sentence. */
function usageMessage(message: string): string {
  return message
    .replace(/^error: /, '')
    .replace(/\s*\n\(Did you mean (.*)\?\)$/, '; did you mean $1?')
    .replace(/\.$/, '')
}
