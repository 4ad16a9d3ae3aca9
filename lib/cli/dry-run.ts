// `luffy train --dry-run`: the resolved configuration and what the run would do, with nothing written.
import { formatBytes, formatCount } from '../report/text.js'
import { planTrain, type TrainPlan } from '../training/plan.js'
import type { ResolvedTrainConfig } from '../training/train-config.js'
import { configText, print } from './terminal.js'

export async function runDryRun(config: ResolvedTrainConfig): Promise<number> {
  const plan = await planTrain(config)
  print(configText(plan.config))
  for (const line of ['dry run, nothing was written', ...planLines(plan)]) print(`# ${line}`)
  return 0
}

/** What would happen, one line for each part. */
export function planLines(plan: TrainPlan): string[] {
  const { config, device, model, evaluations } = plan
  const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`
  const every = config.evalSteps > 0 ? `before the first step, every ${config.evalSteps} steps and ` : ''
  return [
    ...plan.notices,
    startText(plan),
    `device ${device.backend}, ${device.isa} kernels, ${plural(device.threads, 'thread')}`,
    `model ${model.folder}: a ${model.architecture} of ${formatCount(model.parameters)} parameters; ` +
      `with gradients and moments ${formatBytes(plan.stateBytes)}`,
    ...plan.phases.map(
      ({ method, from, to, samples, demonstrations, updatesPerStep }) =>
        `${plan.phases.length === 1 ? 'each step' : `each of steps ${from} to ${to} (${method})`}: ` +
        `${plural(config.promptsPerStep, 'prompt')}, each with ${plural(samples, 'sample')} and ` +
        `${plural(demonstrations, 'demonstration')}, ${plural(updatesPerStep, 'update')}`,
    ),
    `evaluates ${evaluations.join(', ') || 'nothing'} ${every}at the end; the best is by ${config.bestBy ?? 'none'}`,
    `saves every ${config.saveSteps} steps and at the end, keeps ${config.saveTotalLimit} and the best`,
  ]
}

function startText({ config, runFolder, exists, step, checkpoint }: TrainPlan): string {
  if (step >= config.maxSteps && checkpoint !== undefined) {
    return `${runFolder} is done: step ${step} of ${config.maxSteps}`
  }
  if (checkpoint !== undefined)
    return `would go on after step ${step} of ${config.maxSteps}, from ${checkpoint}`
  const where = exists ? 'the folder is there, without a checkpoint' : 'a new folder'
  return `would start a run of ${config.maxSteps} steps in ${runFolder} (${where})`
}
