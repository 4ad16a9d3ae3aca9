// The command line of the scripts that keep a record of the kernels: [--only STEM[,STEM]] [--write].
import { parseArgs } from 'node:util'

// { only: stems or null, write }, or what to print and the exit code: { text, code }. `stems` are those that there are.
export function recordOptions(script, args, stems) {
  const usage = `usage: node scripts/${script}.mjs [--only STEM[,STEM]] [--write]`
  let values
  try {
    ;({ values } = parseArgs({
      args,
      options: {
        only: { type: 'string' },
        write: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }))
  } catch (error) {
    return { text: `${error.message}\n${usage}`, code: 2 }
  }
  if (values.help) return { text: `${usage}\nstems: ${stems.join(', ')}`, code: 0 }
  const only = values.only?.split(',') ?? null
  const unknown = only?.find(stem => !stems.includes(stem))
  if (unknown !== undefined)
    return { text: `--only: no kernel file '${unknown}', expected ${stems.join(', ')}`, code: 2 }
  return { only, write: values.write ?? false }
}
