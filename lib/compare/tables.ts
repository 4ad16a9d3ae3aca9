// The tables of a comparison as text.
import { formatTable, type TableOptions } from '../report/table.js'
import { formatCount, formatSeconds, printable } from '../report/text.js'
import type { Estimate, MethodSummary } from './summary.js'

/** `98.2 ± 0.4` in percent, without the error where there is one run; a dash where there is none. */
export function percentText(value: Estimate | undefined, plusMinus = '±'): string {
  if (value === undefined) return '-'
  const mean = (100 * value.mean).toFixed(1)
  return value.standardError === undefined
    ? mean
    : `${mean} ${plusMinus} ${(100 * value.standardError).toFixed(1)}`
}

export function numberText(value: Estimate | undefined, plusMinus = '±', decimals = 1): string {
  if (value === undefined) return '-'
  const mean = value.mean.toFixed(decimals)
  return value.standardError === undefined
    ? mean
    : `${mean} ${plusMinus} ${value.standardError.toFixed(decimals)}`
}

type Style = TableOptions['style']

const signOf = (style: Style) => (style === 'ascii' ? '+-' : '±')

/** Method by column in percent, with tokens and seconds per run. `base`: a first row for the policy before training. */
export function mainTable(
  summaries: readonly MethodSummary[],
  base: Record<string, Estimate | undefined> | undefined,
  style: Style,
): string {
  const columns = Object.keys(summaries[0]?.columns ?? {})
  const sign = signOf(style)
  const rows = summaries.map(summary => [
    printable(summary.label),
    ...columns.map(name => percentText(summary.columns[name], sign)),
    summary.trainedTokens === undefined ? '-' : formatCount(summary.trainedTokens.mean),
    summary.sampledTokens === undefined ? '-' : formatCount(summary.sampledTokens.mean),
    summary.seconds === undefined ? '-' : formatSeconds(summary.seconds.mean),
    summary.failed === 0 ? String(summary.runs) : `${summary.runs}, ${summary.failed} failed`,
  ])
  const hasBase = base !== undefined && columns.some(name => base[name] !== undefined)
  const baseRow = ['(before)', ...columns.map(name => percentText(base?.[name], sign)), '', '', '', '']
  return formatTable(
    ['method', ...columns.map(name => printable(name)), 'tokens trained', 'sampled', 'time', 'runs'],
    hasBase ? [baseRow, ...rows] : rows,
    { style, ...(hasBase ? { linesBefore: [1] } : {}) },
  )
}

/** Steps to the accuracy, and the accuracy at fixed steps. */
export function speedTable(
  summaries: readonly MethodSummary[],
  speed: { column: string; accuracy: number; atSteps: readonly number[] },
  style: Style,
): string {
  const sign = signOf(style)
  return formatTable(
    [
      'method',
      `steps to ${Math.round(100 * speed.accuracy)} %`,
      'reached',
      ...speed.atSteps.map(step => `at ${step}`),
    ],
    summaries.map(summary => [
      printable(summary.label),
      numberText(summary.stepsTo?.estimate, sign, 0),
      `${summary.stepsTo?.reached ?? 0} of ${summary.runs}`,
      ...speed.atSteps.map(step => percentText(summary.atSteps?.[step], sign)),
    ]),
    { style },
  )
}
