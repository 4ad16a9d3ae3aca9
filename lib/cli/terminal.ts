// Where the command writes: results to stdout, progress and errors to stderr. A reader that goes away is no error.
import { stringify } from 'yaml'
import { printable, printableLines, type TextStyle, textStyle } from '../report/text.js'
import type { ResolvedTrainConfig } from '../training/train-config.js'

/** What stdout can show. */
export function stdoutStyle(): TextStyle {
  return textStyle(process.stdout.isTTY === true, process.env)
}

/** Style of a table on stdout. */
export function tableStyle(): 'unicode' | 'ascii' {
  return stdoutStyle().unicode ? 'unicode' : 'ascii'
}

/** Prints a result. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Tells the user something on stderr, beside what the command is for. */
export function note(text: string): void {
  process.stderr.write(`${printable(text)}\n`)
}

/** A configuration as YAML. */
export function configText(config: ResolvedTrainConfig): string {
  return printableLines(stringify(JSON.parse(JSON.stringify(config))).trimEnd())
}

let outlivesReader = false

/** From here on the command goes on when nobody reads its output any more (a training run is worth more than a pipe). */
export function outliveReader(): void {
  outlivesReader = true
}

/** `luffy methods | head -1` closes the pipe early: that ends the command quietly, as it ends other programs. */
export function handleClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED') throw error
      if (!outlivesReader && stream === process.stdout) process.exit(process.exitCode ?? 0)
    })
  }
}
