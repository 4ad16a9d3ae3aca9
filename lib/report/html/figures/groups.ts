// Which groups teach: those whose samples are all right or all wrong have no advantage among themselves.
import { curveOf, hasMetric, lastStep, type ReportModel } from '../model.js'
import { percentTick } from '../scale.js'
import { stackedArea } from '../stacked-area.js'
import { type Figure, fileWord } from './figure.js'

const outcomes = [
  ['batch/solve_all', 'solved', 'f-solved'],
  ['batch/solve_some', 'mixed', 'f-mixed'],
  ['batch/solve_none', 'unsolved', 'f-unsolved'],
] as const

export function groupsFigure({ methods }: ReportModel): Figure {
  return {
    id: 'groups',
    title: 'Solved, mixed and unsolved groups',
    note: 'Groups whose samples all, partly or never solve the prompt. On-policy learning needs mixed groups; an unsolved group teaches by its demonstration.',
    panels: methods
      .filter(method => hasMetric([method], 'batch/solve_all'))
      .map(method => ({
        id: `groups-${fileWord(method.name)}`,
        title: method.name,
        chart: stackedArea(
          outcomes.map(([metric, name, fill]) => ({ name, fill, points: curveOf(method, metric).points })),
          `shares of solved, mixed and unsolved groups of ${method.name}`,
          percentTick,
          lastStep(methods),
        ),
      })),
  }
}
