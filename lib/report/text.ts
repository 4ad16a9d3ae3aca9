// Text for terminals: what may be printed, how wide it is, in which colours.

export { printable, printableLines } from '../printable.js'

/** What a terminal can show; decided once from the stream and the environment. */
export interface TextStyle {
  colour: boolean
  unicode: boolean
}

/**
 * Colour on terminals unless NO_COLOR is set (to anything but nothing) or TERM is dumb, and wherever FORCE_COLOR is
 * set; characters beyond ASCII where the locale is UTF-8.
 */
export function textStyle(isTerminal: boolean, env: Record<string, string | undefined>): TextStyle {
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0'
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || ''
  return {
    colour: !env.NO_COLOR && (forced || (isTerminal && env.TERM !== 'dumb')),
    unicode: /utf-?8/i.test(locale),
  }
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const

/** Text in a colour, or as it is where there is no colour. */
export function coloured(text: string, colour: keyof typeof CODES, style: TextStyle): string {
  return style.colour ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text
}

// Built from a string: a literal escape character in a pattern looks like a mistake.
const COLOUR_CODES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')

/** Columns that a text takes: its code points without colour codes. Wide characters count as one. */
export function textWidth(text: string): number {
  return [...text.replace(COLOUR_CODES, '')].length
}

/** Text padded to a width. */
export function padded(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - textWidth(text)))
  return align === 'left' ? text + space : space + text
}

/** Seconds for people: `0.8 s`, `42 s`, `3 m 07 s`, `2 h 05 m`; a question mark when not finite. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '?'
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`
}

/** Counts for people, three digits or so: `812`, `34.1k`, `1.25M`. A number that is not finite is a dash. */
export function formatCount(count: number): string {
  if (!Number.isFinite(count)) return '-'
  const size = Math.abs(count)
  if (size < 999.5) return String(Math.round(count))
  if (size < 999_500) return `${(count / 1e3).toPrecision(3)}k`
  if (size < 999_500_000) return `${(count / 1e6).toPrecision(3)}M`
  return `${(count / 1e9).toPrecision(3)}G`
}

/** `512.0 MiB`, `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`
}

/** A number with a fixed number of decimals, or a dash where it is missing or not finite. */
export function formatNumber(value: number | null | undefined, decimals = 3): string {
  return value === null || value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(decimals)
}
