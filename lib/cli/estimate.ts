// `luffy estimate`: the memory that a run takes, part by part, and whether this machine has it; no weight is read.
import { native } from '../native.js'
import { withOverrides } from '../policy/config.js'
import { readPolicyConfig } from '../policy/hugging-face-config.js'
import { formatTable } from '../report/table.js'
import { formatBytes, formatCount } from '../report/text.js'
import { estimateMemory } from '../training/memory-estimate.js'
import { fetchModel } from './fetch-model.js'
import { loadTrainConfig } from './run-config.js'
import { print, tableStyle } from './terminal.js'

export interface EstimateOptions {
  set: readonly string[]
  json: boolean
}

/** The exit code: 0 where the run fits into what is free, 6 where it does not. */
export async function runEstimate(path: string, options: EstimateOptions): Promise<number> {
  const { config } = await loadTrainConfig(path, options.set)
  const { ropeTheta, maxPositions } = config
  const policy = withOverrides(await readPolicyConfig(await fetchModel(config.model, { parts: 'config' })), {
    ropeTheta,
    maxPositions,
  })
  const freeBytes = native().systemInfo().availableMemory
  const estimate = estimateMemory(policy, config, { freeBytes })
  const fits = estimate.peakBytes <= freeBytes
  if (options.json) {
    print(JSON.stringify({ ...estimate, freeBytes, fits }))
    return fits ? 0 : 6
  }
  const rows = estimate.parts.map(({ name, bytes, phase, why }) => [name, formatBytes(bytes), phase, why])
  const left = (header: string) => ({ header, align: 'left' as const })
  print(
    formatTable(
      ['memory', 'size', left('held'), left('of')],
      [
        ...rows,
        [
          'largest at once',
          formatBytes(estimate.peakBytes),
          '',
          'always, with the larger of sampling and update',
        ],
      ],
      { style: tableStyle(), linesBefore: [rows.length] },
    ),
  )
  print(
    `${policy.architecture} of ${formatCount(estimate.parameterCount)} parameters, in ${config.dtype}: ` +
      `${fits ? 'fits into' : 'does not fit into'} the ${formatBytes(freeBytes)} that are free on the CPU`,
  )
  return fits ? 0 : 6
}
