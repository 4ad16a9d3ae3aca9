// Builds and runs the emulator's programs (scripts/emulator.mjs), and says why a machine cannot.
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { packageRoot } from '../../lib/native-loader.js'

const script = join(packageRoot, 'scripts/emulator.mjs')
const execute = promisify(execFile)

/** Why the emulator cannot be built here; empty when it can. */
export const missingReason = execFileSync(process.execPath, [script, 'missing'], { encoding: 'utf8' }).trim()

export { runsLongTests } from '../_helpers/emulator.js'

export const schedules = ['fifo', 'lifo', 'reverse', 'random:7'] as const

export type Flavour = 'plain' | 'asan' | 'tsan'

/** Builds a program and returns its path; with `ptxArch` its kernels can also run as translated PTX. */
export async function buildProgram(program: string, flavour: Flavour, ptxArch?: string): Promise<string> {
  const args = [script, 'build', program, flavour, ...(ptxArch ? [ptxArch] : [])]
  const { stdout } = await execute(process.execPath, args, { maxBuffer: 1 << 26 })
  return stdout.trim()
}

export interface Outcome {
  code: number
  output: string
}

/** Runs a command; `output` is stdout and stderr. Codes above 128 are signals. */
export async function runProgram(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('EMULATOR_')),
  )
  const [file = '', ...args] = command
  return new Promise(resolve => {
    execFile(
      file,
      args,
      { env: { ...clean, ...env }, timeout: 480_000, maxBuffer: 1 << 26, cwd: packageRoot },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 200) : 0
        resolve({ code, output: stdout + stderr })
      },
    )
  })
}

const summary = /^(\d+) cases, 0 failed, hash ([0-9a-f]{16})$/m

/** Cases that a program must run: so many at least, or exactly. */
export type Expected = number | { exactly: number }

/** Runs a program of cases.cuh: none fails, and as many as expected ran. Returns its hash of all bits. */
export async function hashOf(
  t: ExecutionContext,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  expected: Expected,
): Promise<string> {
  const { code, output } = await runProgram(command, env)
  const found = summary.exec(output)
  const wrong = output.split('\n').filter(line => !line.startsWith('ok '))
  if (!found || code !== 0)
    t.fail(`${JSON.stringify(env)} ended with ${code}:\n${wrong.slice(0, 20).join('\n')}`)
  const ran = Number(found?.[1])
  if (typeof expected === 'number') t.true(ran >= expected, `only ${ran} cases`)
  else t.is(ran, expected.exactly)
  t.notRegex(output, /emulator:|Sanitizer|runtime error|==\d+==/)
  return found?.[2] ?? ''
}

/** The same bits under every schedule, in every leg. */
export async function sameBitsUnderSchedules(
  t: ExecutionContext,
  command: readonly string[],
  expected: Expected,
  legs: readonly ('source' | 'ptx')[] = ['source'],
): Promise<void> {
  const hashes = new Map<string, string>()
  for (const leg of legs) {
    for (const schedule of schedules) {
      const env = { EMULATOR_SCHEDULE: schedule, ...(leg === 'ptx' ? { EMULATOR_LEG: 'ptx' } : {}) }
      hashes.set(`${leg} ${schedule}`, await hashOf(t, command, env, expected))
    }
  }
  t.is(new Set(hashes.values()).size, 1, `bits differ: ${JSON.stringify([...hashes])}`)
}

/**
 * A program's cases with lazy streams and its traffic counted: none fails, and in each of `kernels` kernels ldmatrix
 * reads and meets no bank conflict. Returns the lines of the cases.
 */
export async function noConflicts(t: ExecutionContext, program: string, kernels: number): Promise<string[]> {
  const { code, output } = await runProgram([program], { EMULATOR_TRACE: '1', EMULATOR_STREAMS: 'lazy' })
  const lines = output.split('\n').filter(line => line.startsWith('ok '))
  t.is(
    code,
    0,
    output.split('\n').find(line => line.startsWith('FAILED')),
  )
  const counted = new RegExp(`(, matrices [1-9]\\d*, conflicts 0){${kernels}}$`)
  for (const line of lines) t.regex(line, counted)
  return lines
}

/** Runs `body` for every item, two at a time. */
export async function forEachOf<T>(items: readonly T[], body: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await body(item)
  }
  await Promise.all([worker(), worker()])
}

export const sanitizerEnv: Readonly<Record<string, string>> = {
  ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=0:exitcode=99',
  UBSAN_OPTIONS: 'exitcode=99:halt_on_error=1',
  TSAN_OPTIONS: 'exitcode=66:report_thread_leaks=0',
}
