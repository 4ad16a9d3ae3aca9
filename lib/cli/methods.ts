// `luffy methods`: the methods by name, each with what it minimizes. The formulas in full: docs/luffy.md.
import { type MethodName, methods } from '../methods/index.js'
import type { Method } from '../methods/method.js'
import { formatTable } from '../report/table.js'
import { padded } from '../report/text.js'
import { print, tableStyle } from './terminal.js'

// The record asks for a line when a method is added. A = advantage, p = probability of the token, r = p / p_old.
const formulas: Record<MethodName, { minimizes: string; paper: string }> = {
  luffy: {
    minimizes: '-A r on samples, -A p/(p + 0.1) on demonstrations, less 0.01 entropy; sum / constant',
    paper: 'arXiv 2504.14945',
  },
  grpo: {
    minimizes: 'max(-A r, -A clip(r, 0.8, 1.2)); mean of the means of sequences',
    paper: 'arXiv 2402.03300',
  },
  drGrpo: { minimizes: 'max(-A r, -A clip(r, 0.8, 1.2)); sum / constant', paper: 'arXiv 2503.20783' },
  sft: { minimizes: '-log p on demonstrations; mean over tokens', paper: '-' },
}

export function runMethods(json: boolean): number {
  const all = Object.entries(methods) as [MethodName, Method][]
  if (json) {
    print(JSON.stringify(all.map(([name, method]) => ({ ...method, ...formulas[name] }))))
    return 0
  }
  const columns = ['method', 'group', 'advantage', 'paper'].map(header => ({
    header,
    align: 'left' as const,
  }))
  const rows = all.map(([name, method]) => [name, members(method), advantage(method), formulas[name].paper])
  print(formatTable(columns, rows, { style: tableStyle() }))
  print('\nMinimized, per token (A advantage, p probability, r = p / p_old):')
  for (const [name] of all) print(`  ${padded(name, 8)}${formulas[name].minimizes}`)
  return 0
}

function members(method: Method): string {
  return [method.onPolicy ? 'samples' : '', method.demonstrations ? 'demonstrations' : '']
    .filter(Boolean)
    .join(', ')
}

function advantage(method: Method): string {
  if (method.demonstrationTokens === 'supervised') return '-'
  return method.advantages.baseline === 'mean-std' ? '(R - mean) / std' : 'R - mean'
}
