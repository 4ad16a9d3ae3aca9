// The process of one run: trains as its parent says, tells it of steps, and saves and ends when it says stop or is gone.
import { AbortedError, LuffyError } from '../errors.js'
import { train } from '../training/train.js'
import type { ResolvedTrainConfig } from '../training/train-config.js'
import { taskOf } from './plan.js'

/** What a run's process is told. */
export type ToChild =
  | {
      type: 'start'
      config: ResolvedTrainConfig
      module: string | undefined
      taskOptions: Record<string, unknown>
    }
  | { type: 'stop' }

/** What it tells. */
export type FromChild =
  | { type: 'step'; step: number; maxSteps: number; reward?: number | undefined }
  | { type: 'notice'; text: string }
  | { type: 'end'; step: number }
  | { type: 'stopped' }
  | { type: 'failed'; message: string; exitCode: number }

const stop = new AbortController()
// Ctrl-C reaches every process of the terminal: the parent decides what it means.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => stop.abort('SIGTERM'))
process.on('disconnect', () => stop.abort('the comparison ended'))
process.on('message', (message: ToChild) => {
  if (message.type === 'stop') stop.abort('stop')
  else void run(message)
})

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message)
}

async function run({ config, module, taskOptions }: ToChild & { type: 'start' }): Promise<void> {
  try {
    const task = module === undefined ? undefined : await taskOf(module, taskOptions, config)
    const { step } = await train(config, {
      signal: stop.signal,
      ...(task === undefined ? {} : { task }),
      onEvent: event => {
        if (event.type === 'start') tell({ type: 'step', step: event.step, maxSteps: event.maxSteps })
        if (event.type === 'notice') tell({ type: 'notice', text: event.text })
        if (event.type === 'step') {
          tell({ type: 'step', step: event.step, maxSteps: config.maxSteps, reward: event.metrics.reward })
        }
      },
    })
    tell({ type: 'end', step })
  } catch (error) {
    if (AbortedError.isInstance(error) && stop.signal.aborted) tell({ type: 'stopped' })
    else {
      const message = error instanceof Error ? error.message : String(error)
      tell({
        type: 'failed',
        message,
        exitCode: LuffyError.isInstance(error) ? error.exitCode : exitCodeOf(error),
      })
    }
  }
  if (process.connected) process.disconnect()
}

/** A wrong argument is the user's, anything else a bug. */
function exitCodeOf(error: unknown): number {
  return error instanceof RangeError || error instanceof TypeError ? 2 : 1
}
