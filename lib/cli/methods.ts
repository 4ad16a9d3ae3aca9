// `luffy methods`: the methods by name, each with what it minimizes and its own numbers. In full: docs/methods.md.
import { type MethodName, methods } from '../methods/index.js'
import type { Method } from '../methods/method.js'
import { formatTable } from '../report/table.js'
import { padded } from '../report/text.js'
import { print, tableStyle } from './terminal.js'

export function runMethods(json: boolean): number {
  const all = Object.entries(methods) as [MethodName, Method][]
  if (json) {
    print(JSON.stringify(all.map(([, method]) => method)))
    return 0
  }
  const columns = ['method', 'group', 'advantage', 'source'].map(header => ({
    header,
    align: 'left' as const,
  }))
  const rows = all.map(([name, method]) => [name, members(method), advantage(method), method.source ?? '-'])
  print(formatTable(columns, rows, { style: tableStyle() }))
  print('\nMinimized, per token (A advantage, p probability, r = p / p_old):')
  const width = Math.max(...all.map(([name]) => name.length)) + 2
  for (const [name, method] of all) {
    print(`  ${padded(name, width)}${method.minimizes ?? ''}`)
    for (const [option, { default: usual, about }] of Object.entries(method.options ?? {})) {
      print(`  ${padded('', width)}  ${option} (${usual}): ${about}`)
    }
  }
  return 0
}

function members(method: Method): string {
  return [method.onPolicy ? 'samples' : '', method.demonstrations ? 'demonstrations' : '']
    .filter(Boolean)
    .join(', ')
}

function advantage(method: Method): string {
  if (!method.onPolicy && method.demonstrationTokens === 'supervised') return '-'
  const baseline = method.advantages.baseline ?? 'mean'
  const mean = baseline.startsWith('on-policy') ? 'mean of samples' : 'mean'
  return baseline.endsWith('std') ? `(R - ${mean}) / std` : `R - ${mean}`
}
