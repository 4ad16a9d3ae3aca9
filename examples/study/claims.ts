// The claims, each with its numbers and whether they bear it out. A claim of which a comparison was not run is not judged.

import type { RunRecord } from '../../lib/compare/run-record.js'
import { accuracyAt, type Estimate, estimate, stepsTo } from '../../lib/compare/summary.js'
import { numberText, percentText } from '../../lib/compare/tables.js'
import { formatTable } from '../../lib/report/table.js'
import type { StudyResult } from './results.js'

export type Results = ReadonlyMap<string, StudyResult | undefined>

export interface Verdict {
  claim: string
  /** Undefined: not run. */
  held: boolean | undefined
  numbers: string
}

/** A difference is far from chance when it is more than this many standard errors. */
const errors = 2

const recordsOf = (result: StudyResult, label: string) => result.records.filter(each => each.label === label)

/** The mean over seeds of the difference of two methods in a value, seed by seed. */
export function difference(
  result: StudyResult,
  [a, b]: readonly [string, string],
  value: (record: RunRecord) => number | undefined,
): Estimate | undefined {
  const others = new Map(recordsOf(result, b).map(record => [record.seed, value(record)]))
  const differences = recordsOf(result, a).flatMap(record => {
    const own = value(record)
    const other = others.get(record.seed)
    return own === undefined || other === undefined ? [] : [own - other]
  })
  return estimate(differences)
}

/** Whether a difference is above a bound by more than two standard errors. */
function isAbove(value: Estimate | undefined, bound = 0): boolean {
  return value !== undefined && value.mean - errors * (value.standardError ?? 0) > bound
}

const accuracyIn = (result: StudyResult, column: string, step?: number) => (record: RunRecord) =>
  accuracyAt(record, result.columns[column] ?? [], step)
const columnOf = (result: StudyResult, label: string, column: string) =>
  result.methods.find(each => each.label === label)?.columns[column]
const stepsIn = (result: StudyResult) => (record: RunRecord) =>
  stepsTo(record, result.columns[result.speed?.column ?? ''] ?? [], result.speed?.accuracy ?? 1)

/** The largest mean training reward between two evaluations in any run of the labels. */
function largestReward(result: StudyResult, labels: readonly string[]): number | undefined {
  const rewards = labels.flatMap(label =>
    recordsOf(result, label).flatMap(({ intervals }) => intervals.map(({ reward }) => reward ?? 0)),
  )
  return rewards.length === 0 ? undefined : Math.max(...rewards)
}

type Judge = (results: Results) => Omit<Verdict, 'claim'> | undefined

/** A claim on one comparison: not judged where that was not run. */
const on =
  (name: string, judge: (result: StudyResult) => Omit<Verdict, 'claim'>): Judge =>
  results => {
    const result = results.get(name)
    return result === undefined ? undefined : judge(result)
  }

const onPolicyIn = (result: StudyResult) =>
  result.methods.map(({ label }) => label).filter(label => label.startsWith('drGrpo'))

function hardPrompts(least: number) {
  return (result: StudyResult) => {
    const reward = largestReward(result, onPolicyIn(result))
    const luffy = columnOf(result, 'luffy', 'hard')
    return {
      held: reward === 0 && (luffy?.mean ?? 0) >= least,
      numbers: `largest training reward of ${onPolicyIn(result).join(' / ')}: ${reward ?? '-'}; LUFFY solves ${percentText(luffy)} %`,
    }
  }
}

/** The methods as chosen by the sweep, and with the paper's gamma at one learning rate, nothing chosen. */
const chosenPair = ['luffy', 'mixedPolicy'] as const
const plainPair = ['luffy, gamma 0.1', 'mixedPolicy, weight 1'] as const

/** Steps that the unshaped policy needs beyond LUFFY's, over the seeds in which both get there. */
function faster([shaped, unshaped]: readonly [string, string] = chosenPair) {
  return (result: StudyResult) => {
    const gain = difference(result, [unshaped, shaped], stepsIn(result))
    const summary = (label: string) => result.methods.find(each => each.label === label)
    const text = (label: string) => {
      const own = summary(label)
      const reached = `${own?.stepsTo?.reached ?? 0} of ${own?.runs ?? 0}`
      return `${label} ${numberText(own?.stepsTo?.estimate, '±', 0)} (${reached})`
    }
    const at = difference(result, [shaped, unshaped], accuracyIn(result, result.speed?.column ?? 'ID', 60))
    const never = summary(unshaped)?.stepsTo?.reached === 0 && (summary(shaped)?.stepsTo?.reached ?? 0) > 0
    return {
      held: never || isAbove(gain),
      numbers: `steps to 75 %: ${text(shaped)}, ${text(unshaped)}, difference ${numberText(gain)}; at step 60 LUFFY is ${percentText(at)} points ahead`,
    }
  }
}

function isBestOrTied(result: StudyResult) {
  const gaps = result.methods
    .filter(({ label }) => label !== 'luffy')
    .map(({ label }) => ({ label, gap: difference(result, [label, 'luffy'], accuracyIn(result, 'ID')) }))
  const ahead = gaps.filter(({ gap }) => isAbove(gap))
  const order = [...result.methods]
    .sort((a, b) => (b.columns.ID?.mean ?? 0) - (a.columns.ID?.mean ?? 0))
    .map(({ label, columns }) => `${label} ${percentText(columns.ID)}`)
  return {
    held: ahead.length === 0,
    numbers: `${order.join(', ')}${ahead.length > 0 ? `; ahead of LUFFY: ${ahead.map(({ label }) => label).join(', ')}` : ''}`,
  }
}

/** LUFFY minus another method, out of distribution. */
function aheadOutside(other: string, bound = 0) {
  return (result: StudyResult) => {
    const gap = difference(result, ['luffy', other], accuracyIn(result, 'OOD'))
    return {
      held: isAbove(gap, bound),
      numbers: `LUFFY ${percentText(columnOf(result, 'luffy', 'OOD'))}, ${other} ${percentText(columnOf(result, other, 'OOD'))}, difference ${percentText(gap)} points`,
    }
  }
}

/** The best at the end, ahead of the smallest and of the largest gamma by more than two standard errors. */
function gammaOptimum(result: StudyResult) {
  const ranked = [...result.methods].sort((a, b) => (b.columns.ID?.mean ?? 0) - (a.columns.ID?.mean ?? 0))
  const best = ranked[0]?.label ?? ''
  const ends = [result.methods[0]?.label ?? '', result.methods.at(-1)?.label ?? '']
  return {
    held: ends.every(
      end => end !== best && isAbove(difference(result, [best, end], accuracyIn(result, 'ID'))),
    ),
    numbers: `at the end: ${ranked.map(({ label, columns }) => `${label} ${percentText(columns.ID)}`).join(', ')}`,
  }
}

const fewer: Judge = results => {
  const few = results.get('few-demonstrations')
  const all = results.get('op-chains')
  if (few === undefined || all === undefined) return undefined
  const gap = (result: StudyResult) => difference(result, ['luffy', 'sft'], accuracyIn(result, 'ID'))
  const [small, large] = [gap(few), gap(all)]
  return {
    held: isAbove(small, large?.mean),
    numbers: `LUFFY is ahead of SFT by ${percentText(small)} points with 64 demonstrations, by ${percentText(large)} with 512`,
  }
}

function cleanFavoursSft(result: StudyResult) {
  const gap = difference(result, ['sft', 'luffy'], accuracyIn(result, 'ID'))
  return {
    held: !isAbove(gap === undefined ? undefined : { ...gap, mean: -gap.mean }),
    numbers: `in distribution SFT ${percentText(columnOf(result, 'sft', 'ID'))}, LUFFY ${percentText(columnOf(result, 'luffy', 'ID'))}; out of it ${percentText(columnOf(result, 'sft', 'OOD'))} and ${percentText(columnOf(result, 'luffy', 'OOD'))}`,
  }
}

function aheadInside(other: string) {
  return (result: StudyResult) => {
    const gap = difference(result, ['luffy', other], accuracyIn(result, 'ID'))
    return {
      held: isAbove(gap),
      numbers: `LUFFY ${percentText(columnOf(result, 'luffy', 'ID'))}, ${other} ${percentText(columnOf(result, other, 'ID'))}`,
    }
  }
}

const claims: readonly (readonly [claim: string, judge: Judge])[] = [
  [
    '(i) hard prompts: on-policy reward stays at zero, LUFFY solves at least 90 %',
    on('hard', hardPrompts(0.9)),
  ],
  [
    '(ii) shaping alone: faster to 75 % with gamma 0.1 than without, same rate',
    on('shaping', faster(plainPair)),
  ],
  ['(ii) the same where the needed tokens are ten times rarer', on('rare-tokens', faster(plainPair))],
  ['(ii) each as the sweep chose it', on('op-chains', faster())],
  ['(ii) each as the sweep chose it, rarer tokens', on('rare-tokens', faster())],
  ['(ii) gamma has an optimum between the extremes', on('gamma', gammaOptimum)],
  ['(iii) in distribution LUFFY is best or tied', on('op-chains', isBestOrTied)],
  ['(iii) out of distribution far (10 points) above SFT', on('op-chains', aheadOutside('sft', 0.1))],
  [
    '(iii) out of distribution far (10 points) above SFT then RL',
    on('op-chains', aheadOutside('sftThenRl', 0.1)),
  ],
  ['the paper: out of distribution above on-policy RL', on('op-chains', aheadOutside('drGrpo'))],
  ['(iv) with fewer demonstrations the lead over SFT grows', fewer],
  [
    '(iv) with clean demonstrations SFT is no worse in distribution (against LUFFY)',
    on('clean-demonstrations', cleanFavoursSft),
  ],
  [
    'second task 1: hard prompts, on-policy reward zero, LUFFY above 80 %',
    on('glyph-sums-hard', hardPrompts(0.8)),
  ],
  ['second task 2: in distribution ahead of on-policy RL', on('glyph-sums', aheadInside('drGrpo'))],
  ['second task 3: shaping is faster to 75 %', on('glyph-sums', faster())],
  ['second task 4: in distribution best or tied', on('glyph-sums', isBestOrTied)],
  [
    'second task 5: out of distribution far (10 points) above SFT',
    on('glyph-sums', aheadOutside('sft', 0.1)),
  ],
  ['second task 5: out of distribution above SFT then RL', on('glyph-sums', aheadOutside('sftThenRl'))],
]

export function verdicts(results: Results): Verdict[] {
  return claims.map(([claim, judge]) => ({
    claim,
    ...(judge(results) ?? { held: undefined, numbers: 'not run' }),
  }))
}

/** The verdicts as a Markdown table. A difference counts where it is more than two standard errors over seeds. */
export function claimsText(results: Results): string {
  const left = (header: string) => ({ header, align: 'left' as const })
  const rows = verdicts(results).map(({ claim, held, numbers }) => [
    claim,
    held === undefined ? '-' : held ? 'held' : 'did not hold',
    numbers,
  ])
  return formatTable([left('claim'), left('here'), left('numbers')], rows, { style: 'markdown' })
}
