// Runs as processes of their own, a few at a time. One that fails does not end the others.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { PlannedRun } from './plan.js'
import type { FromChild, ToChild } from './run-child.js'

export type RunEvent =
  | { type: 'start'; run: PlannedRun }
  | { type: 'step'; run: PlannedRun; step: number; maxSteps: number; reward?: number | undefined }
  | { type: 'notice'; run: PlannedRun; text: string }
  | { type: 'end'; run: PlannedRun; outcome: RunOutcome }

export type RunOutcome =
  | { kind: 'done' }
  | { kind: 'stopped' }
  | { kind: 'failed'; message: string; exitCode: number }

export interface RunPoolOptions {
  jobs: number
  /** Stops every run, each with a checkpoint. */
  signal?: AbortSignal | undefined
  onEvent?: ((event: RunEvent) => void) | undefined
}

const script = fileURLToPath(new URL('./run-child.js', import.meta.url))

/** Runs all; the outcomes in the order of the runs. Runs that the signal kept from starting are `stopped`. */
export async function runAll(
  runs: readonly PlannedRun[],
  { jobs, signal, onEvent = () => {} }: RunPoolOptions,
): Promise<RunOutcome[]> {
  const outcomes: RunOutcome[] = runs.map(() => ({ kind: 'stopped' }))
  let next = 0
  const worker = async () => {
    while (next < runs.length && signal?.aborted !== true) {
      const number = next++
      const run = runs[number] as PlannedRun
      onEvent({ type: 'start', run })
      const outcome = await runOne(run, signal, onEvent)
      outcomes[number] = outcome
      onEvent({ type: 'end', run, outcome })
    }
  }
  await Promise.all(Array.from({ length: Math.min(jobs, runs.length) }, worker))
  return outcomes
}

function runOne(
  run: PlannedRun,
  signal: AbortSignal | undefined,
  onEvent: (event: RunEvent) => void,
): Promise<RunOutcome> {
  return new Promise(resolve => {
    const child = fork(script, [], { execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    let last: RunOutcome | undefined
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-2000)
    })
    const stop = () => send(child, { type: 'stop' })
    signal?.addEventListener('abort', stop, { once: true })
    child.on('message', (message: FromChild) => {
      if (message.type === 'step') onEvent({ ...message, run })
      else if (message.type === 'notice') onEvent({ ...message, run })
      else if (message.type === 'end') last = { kind: 'done' }
      else if (message.type === 'stopped') last = { kind: 'stopped' }
      else last = { kind: 'failed', message: message.message, exitCode: message.exitCode }
    })
    child.on('error', error => {
      last ??= { kind: 'failed', message: error.message, exitCode: 1 }
      if (child.pid === undefined) finish()
    })
    child.on('close', (code, name) => {
      const how = name === null ? `ended with exit code ${code}` : `was ended by ${name}`
      const words = stderr.trim().split('\n').at(-1) ?? ''
      last ??= {
        kind: 'failed',
        message: `its process ${how}${words === '' ? '' : `: ${words}`}`,
        exitCode: 1,
      }
      finish()
    })
    const finish = () => {
      signal?.removeEventListener('abort', stop)
      resolve(last as RunOutcome)
    }
    const { config, module, taskOptions } = run
    send(child, { type: 'start', config, module, taskOptions })
  })
}

// A process that is gone says so by its close.
function send(child: ChildProcess, message: ToChild): void {
  if (child.connected) child.send(message, () => {})
}
