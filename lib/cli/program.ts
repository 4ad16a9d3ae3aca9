// The `luffy` command: parses its arguments and calls one function per command. Commands are imported when they are
// called, so that `luffy doctor` and `luffy build` work where the native kernels are not built.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError, Help, InvalidArgumentError, type Option } from 'commander'
import { ConfigError } from '../errors.js'
import { packageRoot } from '../native-loader.js'
import { describeValue, nearestName } from '../options.js'
import { describeError, reportError } from './report-error.js'
import { handleClosedPipes } from './terminal.js'

const help = `
Examples:
  $ luffy train examples/luffy-op-chains.yaml --set maxSteps=50
  $ luffy train examples/luffy-op-chains.yaml --dry-run
  $ luffy sample runs/luffy/checkpoint-100 --prompt '5387rizp='
  $ luffy doctor

Exit codes: 0 done, 1 a bug of luffy, 2 usage or configuration, 3 model or data
file, 4 checkpoint or disk, 5 diverged, 6 out of memory, 7 device or native
kernels, 130 and 143 stopped by Ctrl-C and SIGTERM.
The last line on stderr says what went wrong; LUFFY_DEBUG=1 adds the stack.`

/** Whole numbers of at least `min`. */
const integer = (min: number) => (text: string) => {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isSafeInteger(value) || value < min) {
    throw new InvalidArgumentError(`expected an integer of at least ${min}, got ${describeValue(text)}`)
  }
  return value
}

const number = (min: number) => (text: string) => {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value) || value < min) {
    throw new InvalidArgumentError(`expected a number of at least ${min}, got ${describeValue(text)}`)
  }
  return value
}

/** Lines of help stay below 80 columns, whatever the terminal. */
const helpWidth = 79

/** What every flag is without being given goes without saying. */
function optionDescription(option: Option): string {
  return new Help().optionDescription(option).replace(/ \(default: (?:false|\[\])\)$/, '')
}

/** `1,2,3` as whole numbers. */
const integers = (text: string) => text.split(',').map(integer(0))

const collect = (value: string, earlier: string[]) => [...earlier, value]
const setHelp = 'an option of the configuration, such as objective.entropyCoef=0.003 (repeatable)'

const deterministicHelp = "on CUDA: products by luffy's own kernels alone, not cuBLASLt"

function buildProgram(finish: (exitCode: number) => void): Command {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
  }
  const program = new Command('luffy')
    .description(
      'Trains reasoning language models with LUFFY (learning to reason under off-policy guidance).',
    )
    .version(version, '-V, --version')
    .option('--json-errors', 'the last line of stderr is JSON when the command fails')
    .addHelpText('after', help)
    .helpCommand('help [command]', 'display help for a command')
    .configureHelp({ helpWidth, optionDescription })
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    // Without a command: the help, on stdout.
    .action(() => program.outputHelp())

  program
    .command('train')
    .description('train a policy as a configuration says; a run that is there is resumed')
    .argument('<config>', 'YAML or JSON file (docs/configuration.md)')
    .option('--set <key=value>', setHelp, collect, [])
    .option('--dry-run', 'print the configuration and what would happen, write nothing', false)
    .option('--resume', 'fail unless the run has a checkpoint to resume from', false)
    .option('--show-every <steps>', 'steps between tables of two completions, 0 = none', integer(0), 10)
    .option('--grace <seconds>', 'time to stop and save after Ctrl-C or SIGTERM', number(0), 25)
    .action(async (config, options) => {
      const { runTrain } = await import('./train.js')
      finish(await runTrain(config, options))
    })

  program
    .command('sample')
    .description('complete prompts with a checkpoint')
    .argument('<checkpoint>', 'checkpoint folder, or a run folder for its newest one')
    .option('--prompt <text>', 'what to complete; - for the lines of stdin')
    .option('--raw', 'take the prompt as it is, without the chat template', false)
    .option('--n <count>', 'completions per prompt', integer(1), 4)
    .option('--temperature <t>', 'softmax temperature, 0 = greedy', number(0), 0.6)
    .option('--max-tokens <count>', 'most new tokens', integer(1), 64)
    .option('--seed <seed>', 'of the random draws (default: another one each time)', integer(0))
    .option('--device <name>', 'auto, cpu, cuda', 'auto')
    .option('--deterministic', deterministicHelp, false)
    .option('--dtype <name>', 'float32; on CUDA also bfloat16', 'float32')
    .option('--allow-nonfinite', 'load weights that hold NaN or infinities', false)
    .option('--json', 'one JSON object per completion', false)
    .addHelpText(
      'after',
      '\nWithout --prompt, the lines of stdin are completed; without those, a new\ninstance of the op chains task.',
    )
    .action(async (checkpoint, options) => {
      const { runSample } = await import('./sample.js')
      finish(await runSample(checkpoint, { prompt: undefined, seed: undefined, ...options }))
    })

  program
    .command('eval')
    .description('evaluate a checkpoint on the benchmarks of the paper; one that was stopped goes on')
    .argument('<checkpoint>', 'checkpoint folder, or a run folder for its newest one')
    .requiredOption(
      '--data <path>',
      "files in the layout of LUFFY's, or a folder of such (repeatable)",
      (value: string, earlier: string[] | undefined) => collect(value, earlier ?? []),
    )
    .option('--suite <name>', 'math (AIME 24, AIME 25, AMC, MATH-500, Minerva, OlympiadBench) or ood', 'math')
    .option('--out <folder>', 'of samples and results (default: evaluations/<suite>-<checkpoint>)')
    .option('--template <name>', "auto (the model's own), luffy, none, or a file", 'auto')
    .option('--temperature <t>', 'softmax temperature, 0 = greedy', number(0), 0.6)
    .option('--top-p <p>', 'smallest set of tokens with this share, 1 = off', number(0), 1)
    .option('--max-tokens <count>', 'most new tokens', integer(1), 8192)
    .option('--samples <count>', 'samples per prompt (default: 32 of AIME and AMC, else 1)', integer(1))
    .option('--limit <count>', 'the first prompts of each benchmark (default: all)', integer(1))
    .option('--seed <seed>', 'of the samples and of the order of options', integer(0), 0)
    .option('--keep-order', 'leave the options of multiple-choice questions in their order', false)
    .option('--keep-system', "keep the rows' system messages beside the template's", false)
    .option('--rope-theta <base>', "rotary base in place of the model's", number(1))
    .option('--max-positions <count>', "window in place of the model's", integer(1))
    .option('--device <name>', 'auto, cpu, cuda', 'auto')
    .option('--deterministic', deterministicHelp, false)
    .option('--dtype <name>', 'float32; on CUDA also bfloat16', 'float32')
    .option('--allow-nonfinite', 'load weights that hold NaN or infinities', false)
    .option('--json', 'print JSON', false)
    .action(async (checkpoint, options) => {
      const { runEval } = await import('./eval.js')
      finish(await runEval(checkpoint, options))
    })

  program
    .command('compare')
    .description('train several methods from one base over several seeds; finished runs are not repeated')
    .argument('<config>', 'YAML or JSON file (docs/compare.md)')
    .option('--jobs <count>', "runs at a time (default: the file's, or the cores)", integer(1))
    .option('--seeds <list>', 'such as 1,2,3 in place of those of the file', integers)
    .option('--grace <seconds>', 'time to stop and save after Ctrl-C or SIGTERM', number(0), 25)
    .option('--json', 'print JSON', false)
    .action(async (config, options) => {
      const { runCompare } = await import('./compare.js')
      finish(await runCompare(config, options))
    })

  program
    .command('report')
    .description('make one HTML page of runs: curves, histograms, accuracies, completions')
    .argument(
      '<runs...>',
      'run folders, those of one method count as its seeds; or the folder of a comparison',
    )
    .option('--out <file>', 'the page (default: report.html in the first run folder)')
    .option('--svg <folder>', 'also write the pictures as SVG files')
    .option('--title <text>', 'heading of the page')
    .option('--json', 'print JSON', false)
    .action(async (runs, options) => {
      const { runReport } = await import('./report.js')
      finish(await runReport(runs, options))
    })

  program
    .command('validate')
    .description('check a configuration, its device and its model; print it with every default')
    .argument('<config>', 'YAML or JSON file')
    .option('--set <key=value>', setHelp, collect, [])
    .action(async (config, options) => {
      const { runValidate } = await import('./validate.js')
      finish(await runValidate(config, options.set))
    })

  program
    .command('estimate')
    .description('say what memory a run takes and whether it fits (exit code 6 if not); loads nothing')
    .argument('<config>', 'YAML or JSON file')
    .option('--set <key=value>', setHelp, collect, [])
    .option('--json', 'print JSON', false)
    .action(async (config, options) => {
      const { runEstimate } = await import('./estimate.js')
      finish(await runEstimate(config, options))
    })

  const config = program.command('config').description('what a configuration may hold')
  config
    .command('schema')
    .description('print the JSON Schema of a configuration, for editors')
    .action(async () => {
      const { runConfigSchema } = await import('./config.js')
      finish(runConfigSchema())
    })

  program
    .command('data')
    .description('look at data files')
    .command('inspect')
    .description('columns, counts, lengths, and the first rows as the model will see them')
    .argument('<file>', '.parquet, or .jsonl with one object per line')
    .option('--tokenizer <folder>', 'model folder whose tokenizer and template are used')
    .option('--template <name>', "auto (the model's own), luffy, none, or a file", 'auto')
    .option('--column <name=column>', 'of prompt, demonstration, answer, source (repeatable)', collect, [])
    .option('--reward <name>', 'that has to read the answers', 'exactMatch')
    .option('--max-prompt-length <tokens>', 'leave out longer prompts', integer(1))
    .option('--max-completion-length <tokens>', 'leave out rows with longer demonstrations', integer(1))
    .option('--rows <count>', 'rows to show', integer(0), 2)
    .option('--sample <count>', 'most rows whose lengths are measured', integer(1), 2000)
    .option('--skip-bad-rows', 'count rows that cannot be read instead of stopping', false)
    .option('--json', 'print JSON', false)
    .action(async (file, options) => {
      const { runDataInspect } = await import('./data-inspect.js')
      finish(await runDataInspect(file, options))
    })

  program
    .command('methods')
    .description('list the methods and what each minimizes')
    .option('--json', 'as JSON', false)
    .action(async options => {
      const { runMethods } = await import('./methods.js')
      finish(runMethods(options.json))
    })

  program
    .command('bench')
    .description('measure this machine, in a few seconds')
    .option('--json', 'print JSON', false)
    .action(async options => {
      const { runBench } = await import('./bench.js')
      finish(await runBench(options.json))
    })

  program
    .command('doctor')
    .description('say what this machine has, what is missing, and the command that repairs it')
    .option('--json', 'as JSON', false)
    .action(async options => {
      const { doctorCommand } = await import('./repair-commands.js')
      finish(await doctorCommand(options.json))
    })

  program
    .command('build')
    .description('build the native kernels of this package')
    .option('--cpu', 'the CPU kernels, and those of CUDA where nvcc is found (the default)')
    .option('--cuda', 'refused: they have no build of their own')
    .option('--clean', 'from nothing', false)
    .option('--jobs <count>', 'compilers at a time', integer(1))
    .action(async options => {
      const { buildCommand } = await import('./repair-commands.js')
      finish(await buildCommand(options))
    })
  return program
}

/** Runs the command and returns its exit code. */
export async function main(args: readonly string[]): Promise<number> {
  let exitCode = 0
  const program = buildProgram(code => {
    exitCode = code
  })
  try {
    const unknown = unknownCommand(program, args)
    if (unknown !== undefined) throw unknown
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    const named = program.commands.find(command => args.includes(command.name()))
    const usage = `see luffy ${named ? `${named.name()} ` : ''}--help`
    return reportError(describeError(error, usage), error, args.includes('--json-errors'))
  }
}

// Commander takes a word that is no command as an argument of the program, since the program has an action of its own.
function unknownCommand(program: Command, args: readonly string[]): Error | undefined {
  const words = args.filter(argument => !argument.startsWith('-'))
  const word = words[0] === 'help' ? words[1] : words[0]
  const names = [...program.commands.map(command => command.name()), 'help']
  if (word === undefined || names.includes(word)) return undefined
  const nearest = nearestName(word, names)
  return new ConfigError(`unknown command ${describeValue(word)}`, {
    hint: nearest === undefined ? `known: ${names.join(', ')}` : `did you mean ${describeValue(nearest)}?`,
  })
}

/** Runs the command with the arguments of this process. */
export async function runCommand(): Promise<void> {
  // What no await sees (a stream's error, a rejection nobody handles) ends the command like any other error.
  process.on('uncaughtException', error => {
    process.exit(reportError(describeError(error), error, process.argv.includes('--json-errors')))
  })
  handleClosedPipes()
  process.exitCode = await main(process.argv.slice(2))
}
