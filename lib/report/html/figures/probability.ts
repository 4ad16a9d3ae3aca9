// How likely the policy finds its own tokens and those of demonstrations.
import { type Line, lineChart } from '../line-chart.js'
import { hasMetric, lastStep, type Method, type ReportModel } from '../model.js'
import { type Figure, methodLines, seedNote } from './figure.js'

export function probabilityFigure({ methods }: ReportModel): Figure {
  const own = lines(methods, 'luffy/on_policy_prob', 'luffy/on_policy_tokens', 'own', false)
  const shown = lines(methods, 'luffy/off_policy_prob', 'luffy/off_policy_tokens', 'demo', true)
  return {
    id: 'probability',
    title: 'Probability of own and demonstrated tokens',
    note: `Mean probability under the policy; solid: its own samples, dashed: demonstrations.${seedNote(methods, 'luffy/on_policy_prob')}`,
    panels: [
      {
        id: 'probability',
        title: 'Token probability',
        chart: lineChart([...own, ...shown], {
          lastStep: lastStep(methods),
          description: 'token probability over steps',
          include: [0, 1],
        }),
      },
    ],
  }
}

/** Without tokens of a kind their mean is logged as 0: such methods have no line. */
function lines(
  methods: readonly Method[],
  metric: string,
  tokens: string,
  kind: string,
  dashed: boolean,
): Line[] {
  const having = methods.filter(method => hasMetric([method], tokens, true))
  const trained = (method: Method) => ({
    ...method,
    runs: method.runs.map(run => {
      const counts = new Map(run.columns.get(tokens) ?? [])
      const points = (run.columns.get(metric) ?? []).filter(([step]) => (counts.get(step) ?? 0) > 0)
      return { ...run, columns: new Map([[metric, points]]) }
    }),
  })
  return methodLines(having.map(trained), metric).map(line => ({
    ...line,
    name: methods.length > 1 ? `${line.name} ${kind}` : kind === 'own' ? 'own samples' : 'demonstrations',
    dashed,
  }))
}
