// Ctrl-C and SIGTERM before a command has taken them over (stop-signals.ts): from the command's first line on, while its
// modules load, they end it with one line and 130 or 143. Imports nothing of luffy, so that it stands first.
import { constants } from 'node:os'

export const stopSignalNames = ['SIGINT', 'SIGTERM'] as const
export type StopSignalName = (typeof stopSignalNames)[number]

function stopEarly(name: StopSignalName): void {
  const message = process.argv.includes('train')
    ? 'stopped before the first step, nothing to save'
    : 'stopped'
  const exitCode = 128 + constants.signals[name]
  const report = { error: 'AbortedError', code: 'ABORTED', message, exitCode }
  process.stderr.write(`${process.argv.includes('--json-errors') ? JSON.stringify(report) : message}\n`)
  process.exit(exitCode)
}

export function catchEarlySignals(): void {
  for (const name of stopSignalNames) process.on(name, stopEarly)
}

/** For who catches the signals from here on. */
export function releaseEarlySignals(): void {
  for (const name of stopSignalNames) process.off(name, stopEarly)
}
