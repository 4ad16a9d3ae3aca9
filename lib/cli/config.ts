// `luffy config schema`: the JSON Schema of a configuration, for editors.
import { trainConfigSchema } from '../training/train-config.js'
import { print } from './terminal.js'

export function runConfigSchema(): number {
  print(JSON.stringify(trainConfigSchema(), null, 2))
  return 0
}
