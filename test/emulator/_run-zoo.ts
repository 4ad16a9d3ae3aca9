// Runs the zoo in a mode and collects what is not as _zoo.ts says.
import type { ExecutionContext } from 'ava'
import { buildProgram, forEachOf, type Outcome, runProgram, sanitizerEnv, schedules } from './_programs.js'
import { bugs, type Mode } from './_zoo.js'

const modeEnv: Readonly<Record<Mode, Readonly<Record<string, string>>>> = {
  plain: {},
  asan: sanitizerEnv,
  tsan: sanitizerEnv,
  valgrind: {},
  lazy: { EMULATOR_STREAMS: 'lazy' },
  trace: { EMULATOR_TRACE: '1' },
  leaks: { EMULATOR_LEAKS: '1' },
  ptx: { EMULATOR_LEG: 'ptx' },
  ptxTsan: { ...sanitizerEnv, EMULATOR_LEG: 'ptx' },
}

async function commandFor(mode: Mode, arch: string): Promise<readonly string[]> {
  switch (mode) {
    case 'asan':
      return [await buildProgram('zoo', 'asan')]
    case 'tsan':
      return [await buildProgram('zoo', 'tsan')]
    case 'ptx':
      return [await buildProgram('zoo', 'plain', arch)]
    case 'ptxTsan':
      return [await buildProgram('zoo', 'tsan', arch)]
    case 'valgrind':
      return ['valgrind', '-q', '--error-exitcode=9', await buildProgram('zoo', 'plain')]
    default:
      return [await buildProgram('zoo', 'plain')]
  }
}

const isQuiet = (names: readonly string[], { code, output }: Outcome) =>
  code === 0 &&
  names.every(name => output.includes(`${name}: right\n`)) &&
  !/emulator:|Sanitizer|runtime error|==\d+==/.test(output)

/** Every bug that `mode` must catch is reported, and every control is silent, under each schedule. */
export async function zooInMode(t: ExecutionContext, mode: Mode, arch = '80'): Promise<void> {
  const command = await commandFor(mode, arch)
  const list = await runProgram([command.at(-1)!, '--list'])
  const names = list.output.trim().split('\n')
  const controls = names.filter(name => name.startsWith('control-'))
  const present = names.filter(name => !name.startsWith('control-'))
  t.deepEqual(present.sort(), Object.keys(bugs).sort(), 'the table names every animal')
  const expected = Object.entries(bugs).filter(([, modes]) => modes[mode])
  t.true(expected.length >= 1 && controls.length >= 10)

  const tried = mode === 'plain' || mode === 'ptx' ? schedules : schedules.slice(0, 1)
  const failures: string[] = []
  // The source runs as on the newest device that it knows.
  const device = mode === 'ptx' || mode === 'ptxTsan' ? arch.replace(/\D/g, '') : '90'
  const run = (animals: readonly string[], schedule: string) =>
    runProgram([...command, ...animals], {
      ...modeEnv[mode],
      EMULATOR_SCHEDULE: schedule,
      EMULATOR_ARCH: device,
    })
  await forEachOf(expected, async ([name, modes]) => {
    let last = ''
    for (const schedule of tried) {
      const { code, output } = await run([name], schedule)
      last = output
      const isOnlyNumbers = mode === 'trace' || mode === 'leaks'
      if ((code !== 0 || isOnlyNumbers) && modes[mode]!.test(output)) return
    }
    failures.push(`${name} was not reported (${modes[mode]}):\n${last.slice(0, 600)}`)
  })
  await forEachOf(tried, async schedule => {
    const outcome = await run(controls, schedule)
    if (!isQuiet(controls, outcome))
      failures.push(`controls (${schedule}) ended with ${outcome.code}:\n${outcome.output.slice(0, 2000)}`)
  })
  t.deepEqual(failures, [])
  t.log(`${mode}: ${expected.length} bugs reported, ${controls.length} controls silent`)
}
