// Progress for people: on a terminal one line that is rewritten in place, with a bar; elsewhere plain lines at a rate
// that suits a log file. Nothing here is needed for a result: events carry the same facts to programs.
import { coloured, formatSeconds, padded, printable, type TextStyle, textStyle, textWidth } from './text.js'

/** The part of a stream that progress needs; process.stdout and process.stderr are such. */
export interface ProgressStream {
  write(text: string): unknown
  isTTY?: boolean | undefined
  columns?: number | undefined
}

export interface ProgressOptions {
  /** Where it is written (process.stderr). */
  stream?: ProgressStream
  /** Variables that decide on colour and characters (process.env). */
  env?: Record<string, string | undefined>
  /** Clock in milliseconds, never going back (performance.now). */
  now?: () => number
  /** Least milliseconds between two rewrites on a terminal (100). */
  terminalInterval?: number
  /** Least milliseconds between two plain lines (5000). */
  plainInterval?: number
}

/** What stands behind the bar, in this order: `{ reward: '0.53', entropy: '0.07' }` is `reward 0.53 entropy 0.07`. */
export type ProgressFields = Record<string, string | number>

export interface PhaseOptions {
  /** Units in all, if known: for the bar and the time left. */
  total?: number
  /** What is counted: `step`. */
  unit?: string
  /** Units done before this phase began, as after a resume; they do not count for the time left. */
  start?: number
}

const BAR_WIDTH = 20

/** The progress of one run: a sequence of phases, one at a time. */
export class Progress {
  readonly style: TextStyle
  readonly #stream: ProgressStream
  readonly #now: () => number
  readonly #isTerminal: boolean
  readonly #interval: number
  #phase: Phase | undefined
  #lineShown = false

  constructor(options: ProgressOptions = {}) {
    const env = options.env ?? process.env
    this.#stream = options.stream ?? process.stderr
    this.#now = options.now ?? (() => performance.now())
    this.#isTerminal = this.#stream.isTTY === true && env.TERM !== 'dumb'
    this.#interval = this.#isTerminal ? (options.terminalInterval ?? 100) : (options.plainInterval ?? 5000)
    this.style = textStyle(this.#isTerminal, env)
  }

  /** Begins a phase; one that is open ends. */
  phase(name: string, options: PhaseOptions = {}): Phase {
    this.#phase?.end()
    const phase = new Phase(name, options, this.#interval, this.#now, this.style, (text, final) =>
      this.#show(text, final),
    )
    this.#phase = phase
    return phase
  }

  /** Prints a line; on a terminal above the progress line. Escapes nothing: use `printable` for foreign text. */
  log(line: string): void {
    if (this.#isTerminal && this.#lineShown) {
      this.#stream.write(`\r\x1b[2K${line}\n`)
      this.#lineShown = false
      this.#phase?.redraw()
    } else {
      this.#stream.write(`${line}\n`)
    }
  }

  /** Ends the open phase, so that nothing is left on the line. */
  close(): void {
    this.#phase?.end()
    this.#phase = undefined
  }

  #show(text: string, final: boolean): void {
    if (!this.#isTerminal) {
      this.#stream.write(`${text}\n`)
      return
    }
    // One column is left free: some terminals wrap when the last one is written.
    const shown = cut(text, (this.#stream.columns ?? 80) - 1)
    this.#stream.write(`${this.#lineShown ? '\r\x1b[2K' : ''}${final ? text : shown}${final ? '\n' : ''}`)
    this.#lineShown = !final
  }
}

/** One phase of a run, such as pretraining. Made by `Progress.phase`. */
export class Phase {
  readonly name: string
  readonly #options: PhaseOptions
  readonly #interval: number
  readonly #now: () => number
  readonly #style: TextStyle
  readonly #show: (text: string, final: boolean) => void
  readonly #began: number
  #done: number
  #fields: ProgressFields = {}
  #shownAt: number
  #ended = false

  constructor(
    name: string,
    options: PhaseOptions,
    interval: number,
    now: () => number,
    style: TextStyle,
    show: (text: string, final: boolean) => void,
  ) {
    this.name = printable(name)
    this.#options = options
    this.#interval = interval
    this.#now = now
    this.#style = style
    this.#show = show
    this.#began = now()
    this.#done = options.start ?? 0
    // The first update is shown, whenever it comes.
    this.#shownAt = Number.NEGATIVE_INFINITY
  }

  /** Seconds since the phase began. */
  get seconds(): number {
    return (this.#now() - this.#began) / 1000
  }

  /** Reports that `done` units are done. Shown at once, or not at all where the last line is too young. */
  update(done: number, fields: ProgressFields = {}): void {
    this.#done = done
    this.#fields = fields
    if (!this.#ended && this.#now() - this.#shownAt >= this.#interval) this.redraw()
  }

  /** Shows the line now. */
  redraw(): void {
    if (this.#ended) return
    this.#shownAt = this.#now()
    this.#show(this.#line(), false)
  }

  /** Ends the phase with its last state, or with a summary of its own, on a line that stays. */
  end(summary?: string): void {
    if (this.#ended) return
    this.#ended = true
    const text = summary === undefined ? this.#fieldText() : printable(summary)
    const done = this.#options.unit === undefined ? '' : ` ${this.#count()}`
    this.#show(
      `${this.#label()}${done} in ${formatSeconds(this.seconds)}${text === '' ? '' : ` ${text}`}`,
      true,
    )
  }

  #line(): string {
    const parts = [this.#label()]
    const { total } = this.#options
    if (total !== undefined && total > 0) parts.push(this.#bar(Math.max(0, Math.min(1, this.#done / total))))
    parts.push(this.#count())
    // Before the fields: a narrow terminal cuts the end.
    const left = this.#secondsLeft()
    if (left !== undefined) parts.push(coloured(`${formatSeconds(left)} left`, 'dim', this.#style))
    parts.push(this.#fieldText())
    return parts.filter(part => part !== '').join(' ')
  }

  #label(): string {
    return coloured(padded(this.name, 10), 'cyan', this.#style)
  }

  #bar(share: number): string {
    const full = Math.floor(share * BAR_WIDTH)
    const [on, off] = this.#style.unicode ? ['█', '░'] : ['#', '.']
    return `[${on.repeat(full)}${off.repeat(BAR_WIDTH - full)}]`
  }

  #count(): string {
    const { total, unit } = this.#options
    const count =
      total === undefined
        ? String(this.#done)
        : `${padded(String(this.#done), String(total).length, 'right')}/${total}`
    return unit === undefined ? count : `${unit} ${count}`
  }

  #fieldText(): string {
    return Object.entries(this.#fields)
      .map(([name, value]) => `${printable(name)} ${printable(String(value))}`)
      .join(' ')
  }

  /** From the mean time of a unit in this phase; undefined before the first one and where the total is unknown. */
  #secondsLeft(): number | undefined {
    const { total, start = 0 } = this.#options
    const done = this.#done - start
    if (total === undefined || done <= 0) return undefined
    return (this.seconds / done) * Math.max(0, total - this.#done)
  }
}

/** The first columns of a text, its colour codes kept whole. */
function cut(text: string, columns: number): string {
  if (textWidth(text) <= columns) return text
  const codes = new RegExp(`(${String.fromCharCode(27)}\\[[0-9;]*m)`)
  let room = columns
  return text
    .split(codes)
    .map((piece, i) => {
      if (i % 2 === 1) return piece
      const kept = [...piece].slice(0, room)
      room -= kept.length
      return kept.join('')
    })
    .join('')
}
