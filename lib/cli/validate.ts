// `luffy validate`: what a configuration means, every default filled in, and whether its device is there and its model
// can be read.
import { formatCount } from '../report/text.js'
import { checkSetup } from '../training/plan.js'
import { loadTrainConfig } from './run-config.js'
import { configText, note, print } from './terminal.js'

export async function runValidate(path: string, overrides: readonly string[]): Promise<number> {
  const { config, notices } = await loadTrainConfig(path, overrides)
  for (const notice of notices) note(notice)
  const { effective, model } = await checkSetup(config)
  print(configText(effective.config))
  if (effective.off.length > 0) print(`# off: ${effective.off.join(', ')}`)
  print(
    `# valid; the model is a ${model.architecture} of ${formatCount(model.parameters)} parameters, ` +
      `rotary base ${model.ropeTheta}${changed(config.ropeTheta)}, ${model.maxPositions} positions${changed(config.maxPositions)}`,
  )
  return 0
}

const changed = (option: number | undefined) => (option === undefined ? '' : ' (as configured)')
