// `luffy methods`: the methods by name, each with what it minimizes and its own numbers. In full: docs/methods.md.
import { type MethodName, methods } from '../methods/index.js'
import type { Method } from '../methods/method.js'
import { resolveMethodOptions } from '../methods/options.js'
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

// Where a method begins as another one, that one's members come first.
function members(method: Method): string {
  const first = method.at?.(1, resolveMethodOptions(method.options)).as
  if (first !== undefined) return `${members(first)}, then ${members({ ...method, at: () => ({}) })}`
  const demonstrations = method.demonstrations ? 'demonstrations' : ''
  if (method.choose !== undefined) return `samples or ${demonstrations}`
  const past = method.memory === undefined ? '' : 'past successes'
  return [method.onPolicy ? 'samples' : '', demonstrations, past].filter(Boolean).join(', ')
}

function advantage(method: Method): string {
  const supervised = method.demonstrationTokens === 'supervised'
  if (!method.onPolicy && supervised) return '-'
  const baseline = method.advantages.baseline ?? 'mean'
  // Supervised members have no advantage and count in no mean.
  const ofSamples = baseline.startsWith('on-policy') || (method.demonstrations && supervised)
  const mean = ofSamples ? 'mean of samples' : 'mean'
  return baseline.endsWith('std') ? `(R - ${mean}) / std` : `R - ${mean}`
}
