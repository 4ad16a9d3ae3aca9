// The first screen: who learned what, in a sentence a method and a table.
import { mark } from './chart.js'
import { mean } from './curves.js'
import { valueBefore } from './figures/accuracy.js'
import { escapeMarkup } from './markup.js'
import { evaluationSets, type Method, type ReportModel } from './model.js'
import { seriesClass } from './palette.js'
import { percent } from './scale.js'

const mostSets = 8

export function summary(model: ReportModel): string {
  const sets = setsOf(model)
  return `<p class="lead">${escapeMarkup(lead(model, sets[0]))}</p>\n<div class="scroll">${table(model, sets)}</div>`
}

function setsOf(model: ReportModel): string[] {
  const known = new Set(model.accuracies.map(({ set }) => set))
  return [...new Set([...evaluationSets(model.methods).filter(set => known.has(set)), ...known])].slice(
    0,
    mostSets,
  )
}

/** The methods by what they reached on the first set; without an evaluation, by their reward. */
function lead(model: ReportModel, set: string | undefined): string {
  const reached = model.methods.flatMap(method => {
    const value = set === undefined ? rewardOf(method, 'last') : accuracyOf(model, method, set)?.mean
    const before = set === undefined ? rewardOf(method, 'first') : valueBefore(method, set)
    return value === undefined || !Number.isFinite(value) ? [] : [{ method, value, before }]
  })
  if (reached.length === 0) return 'Nothing was recorded yet.'
  const text = (value: number) => (set === undefined ? value.toFixed(2) : percent(value))
  const parts = reached
    .sort((a, b) => b.value - a.value)
    .slice(0, 6)
    .map(({ method, value, before }) => {
      const name = shortName(method.name)
      return before === undefined ? `${name} ${text(value)}` : `${name} ${text(before)} → ${text(value)}`
    })
  const rest = reached.length > 6 ? `, and ${reached.length - 6} more` : ''
  return `${set === undefined ? 'Reward' : `Solved of ${shortName(set)}`}: ${parts.join(', ')}${rest}.`
}

function table(model: ReportModel, sets: readonly string[]): string {
  const header = ['method', 'seeds', 'steps', 'reward', ...sets.map(set => shortName(set))]
  const rows = model.methods.map(method => {
    const i = seriesClass(method.series)
    const sign = `<svg class="sign" viewBox="-7 -6 14 12" aria-hidden="true">${mark(method.series, `s${i} f${i}`, 0, 0)}</svg>`
    const steps = [...new Set(method.runs.map(run => run.steps))]
    const cells = [
      `${sign}${escapeMarkup(shortName(method.name))}`,
      String(Math.max(method.runs.length, ...sets.map(set => accuracyOf(model, method, set)?.runs ?? 0))),
      steps.length === 0
        ? '-'
        : steps.length === 1
          ? String(steps[0])
          : `${Math.min(...steps)}–${Math.max(...steps)}`,
      change(rewardOf(method, 'first'), rewardOf(method, 'last'), value => value.toFixed(2)),
      ...sets.map(set => {
        const found = accuracyOf(model, method, set)
        if (found === undefined) return '-'
        const error = found.standardError === undefined ? '' : ` ± ${(100 * found.standardError).toFixed(1)}`
        return change(valueBefore(method, set), found.mean, value => (100 * value).toFixed(1), error)
      }),
    ]
    return `<tr>${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`
  })
  const heads = header.map(name => `<th scope="col">${escapeMarkup(name)}</th>`).join('')
  return `<table><thead><tr>${heads}</tr></thead><tbody>${rows.join('')}</tbody></table>`
}

/** `0.0 → 98.3 ± 0.4`; numbers only, so that nothing has to be escaped. */
function change(
  before: number | undefined,
  after: number | undefined,
  text: (value: number) => string,
  error = '',
): string {
  if (after === undefined || !Number.isFinite(after)) return '-'
  const from = before === undefined ? '' : `<span class="change">${text(before)} → </span>`
  return `${from}${text(after)}${error}`
}

function accuracyOf(model: ReportModel, method: Method, set: string) {
  return model.accuracies.find(each => each.method === method.name && each.set === set)
}

/** Reward of the first step, or the mean of the last tenth: one step alone is noise. */
function rewardOf(method: Method, which: 'first' | 'last'): number | undefined {
  const values = method.runs.flatMap(run => {
    const finite = (run.columns.get('reward') ?? []).filter(([, y]) => Number.isFinite(y))
    const some =
      which === 'first' ? finite.slice(0, 1) : finite.slice(-Math.max(1, Math.floor(finite.length / 10)))
    return some.length === 0 ? [] : [mean(some.map(([, y]) => y))]
  })
  return values.length === 0 ? undefined : mean(values)
}

function shortName(text: string): string {
  return text.length > 40 ? `${text.slice(0, 39)}…` : text
}
