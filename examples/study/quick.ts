// The study in minutes: a base, every method once on the mixed prompts, hard prompts with two seeds; and checks of what
// has to hold for any seed. Ends with an exit code, so that a program can run it.
import { join } from 'node:path'
import { compareProgress, readCompareFile } from '../../lib/cli/compare.js'
import { type CompareResult, compare, resultText } from '../../lib/compare/compare.js'
import { merged, resolveCompareConfig } from '../../lib/compare/compare-config.js'
import type { Progress } from '../../lib/report/progress.js'

export interface QuickContext {
  folder: string
  out: string
  seeds?: number[] | undefined
  jobs?: number | undefined
  signal: AbortSignal
  progress: Progress
}

/** Steps of the RL runs: by then LUFFY solves nearly all hard prompts, from every base and seed that was looked at. */
const steps = 80
/** The least that LUFFY has to solve of the hard prompts; .95 and more is usual. */
const luffyFloor = 0.6

const perMethod = {
  sft: { maxSteps: 120, warmupSteps: 12, evalSteps: 0 },
  sftThenRl: { maxSteps: 90, methodOptions: { sftSteps: 40 } },
}

/** Throws an Error that lists what did not hold. */
export async function quick(context: QuickContext): Promise<void> {
  const started = performance.now()
  const seeds = context.seeds ?? [1, 2]
  const mixed = await run(context, 'op-chains', { seeds: seeds.slice(0, 1), perMethod })
  const hard = await run(context, 'hard', { seeds, methods: ['luffy', 'drGrpo'] })
  const wrong = [...incomplete(mixed), ...incomplete(hard), ...hardMistakes(hard)]
  if (wrong.length > 0) throw new Error(`the study does not hold: ${wrong.join('; ')}`)
  console.log(
    `all that has to hold does, in ${((performance.now() - started) / 1000).toFixed(0)} s: every cell of the tables, ` +
      `on-policy reward 0 on hard prompts, LUFFY above ${100 * luffyFloor} % there`,
  )
}

async function run(
  { folder, out, jobs, signal, progress }: QuickContext,
  name: string,
  changes: Record<string, unknown>,
): Promise<CompareResult> {
  const config = merged(await readCompareFile(join(folder, `${name}.yaml`)), {
    outputDir: out,
    ...(jobs === undefined ? {} : { jobs }),
    defaults: { maxSteps: steps, evalSteps: 20, task: { testSize: 100 } },
    ...changes,
  })
  const { speed, ...rest } = config
  const result = await compare(rest, { signal, onEvent: compareProgress(progress) })
  progress.close()
  console.log(`\n${name}\n\n${resultText(result, resolveCompareConfig(rest).speed, 'markdown')}\n`)
  return result
}

/** Cells that are empty, and runs that failed. */
function incomplete({ name, methods, seeds, failed }: CompareResult): string[] {
  const empty = methods.flatMap(({ label, columns, runs }) => [
    ...(runs === seeds.length ? [] : [`${name}: ${label} has ${runs} of ${seeds.length} runs`]),
    ...Object.entries(columns).flatMap(([column, value]) =>
      value === undefined || !Number.isFinite(value.mean) ? [`${name}: ${label} has no ${column}`] : [],
    ),
  ])
  return [...empty, ...failed.map(({ label, message }) => `${name}: ${label} failed: ${message}`)]
}

function hardMistakes({ records, methods }: CompareResult): string[] {
  const onPolicy = records.filter(({ label }) => label === 'drGrpo')
  const rewards = onPolicy.flatMap(({ intervals }) => intervals.map(({ reward }) => reward))
  const luffy = methods.find(({ label }) => label === 'luffy')?.columns.hard?.mean ?? 0
  return [
    ...(rewards.length > 0 && rewards.every(reward => reward === 0)
      ? []
      : [`hard: rewards of on-policy RL are ${rewards.join(', ')}, expected 0`]),
    ...(luffy >= luffyFloor ? [] : [`hard: LUFFY solves ${luffy}, expected at least ${luffyFloor}`]),
  ]
}
