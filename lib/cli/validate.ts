// `luffy validate`: what a configuration means, every default filled in, and whether its model can be read.
import { stringify } from 'yaml'
import { Checkpoint } from '../policy/checkpoint-files.js'
import { formatCount } from '../report/text.js'
import { loadTrainConfig } from './run-config.js'
import { print } from './terminal.js'

export async function runValidate(path: string, overrides: readonly string[]): Promise<number> {
  const config = await loadTrainConfig(path, overrides)
  const checkpoint = await Checkpoint.open(config.model)
  const { architecture } = checkpoint.config
  const parameters = formatCount(checkpoint.layout.parameterCount)
  await checkpoint.close()
  print(stringify(JSON.parse(JSON.stringify(config))).trimEnd())
  print(`# valid; the model is a ${architecture} of ${parameters} parameters`)
  return 0
}
