// Ctrl-C and SIGTERM: the first asks the work to stop and save, the second ends the process.
import { constants } from 'node:os'
import { releaseEarlySignals, stopSignalNames } from './early-signals.js'

export interface StopSignals {
  /** Aborted by the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal
  /** 130 or 143 once a signal came, undefined before. */
  readonly exitCode: number | undefined
  /** Gives the signals back to Node. */
  release(): void
}

const names = stopSignalNames

/**
 * @param graceSeconds after the first signal the process ends when this much time has passed, saved or not
 * @param onFirst told of the first signal
 */
export function catchStopSignals(
  graceSeconds: number,
  onFirst: (name: (typeof names)[number]) => void = () => {},
): StopSignals {
  const controller = new AbortController()
  let exitCode: number | undefined
  let timer: NodeJS.Timeout | undefined
  const handler = (name: (typeof names)[number]) => {
    if (exitCode !== undefined) endNow(name)
    exitCode = 128 + constants.signals[name]
    controller.abort(name)
    onFirst(name)
    timer = setTimeout(() => {
      process.stderr.write(
        `luffy: not stopped within ${graceSeconds} s, the last saved checkpoint is intact\n`,
      )
      endNow(name)
    }, graceSeconds * 1000)
    timer.unref()
  }
  for (const name of names) process.on(name, handler)
  releaseEarlySignals()
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode
    },
    release() {
      clearTimeout(timer)
      for (const name of names) process.off(name, handler)
    },
  }
}

function endNow(name: (typeof names)[number]): never {
  process.exit(128 + constants.signals[name])
}
