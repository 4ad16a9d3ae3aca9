// The study: what LUFFY's claims come to on a task that two cores train in minutes. docs/study.md says what came out.
//
//   npm run study -- base            the base policies, about two minutes each
//   npm run study -- sweep           options of each method, on validation prompts; writes methods.yaml
//   npm run study -- main            every comparison, its tables and the claims
//   npm run study -- quick           a small version of all that, which checks what has to hold
//
//   --seeds 6,7,8   other seeds      --base-seed 1   another base      --only op-chains,hard   some comparisons
//   --out FOLDER    of runs and, in results/, of tables (default runs/study, tables in examples/study/results)
//   --jobs 2        runs at a time
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compareProgress, readCompareFile } from '../../lib/cli/compare.js'
import { prepareBase } from '../../lib/compare/base.js'
import { type CompareResult, compare } from '../../lib/compare/compare.js'
import { merged, resolveCompareConfig } from '../../lib/compare/compare-config.js'
import { exitCodeOf } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { Progress } from '../../lib/report/progress.js'
import { claimsText } from './claims.js'
import { quick } from './quick.js'
import { readResult, tablesOf, writeResult } from './results.js'
import { sweep } from './sweep.js'

export const comparisons = [
  'op-chains',
  'hard',
  'shaping',
  'rare-tokens',
  'gamma',
  'few-demonstrations',
  'clean-demonstrations',
  'glyph-sums',
  'glyph-sums-hard',
] as const

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string' },
    'base-seed': { type: 'string' },
    only: { type: 'string' },
    out: { type: 'string' },
    jobs: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
})
const folder = join(packageRoot, 'examples/study')
const out = values.out ?? 'runs/study'
// Other seeds, another base or another folder: those tables do not overwrite the committed ones.
const isOwn = values.out === undefined && values.seeds === undefined && values['base-seed'] === undefined
const results = isOwn ? join(folder, 'results') : join(out, 'results')
const jobs = values.jobs === undefined ? undefined : Number(values.jobs)
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(name))
const progress = new Progress()

/** A comparison's configuration, with what the command line has in its place. */
async function configOf(name: string): Promise<Record<string, unknown>> {
  const seeds = values.seeds?.split(',').map(Number)
  return merged(await readCompareFile(join(folder, `${name}.yaml`)), {
    outputDir: out,
    ...(seeds === undefined ? {} : { seeds }),
    ...(values['base-seed'] === undefined ? {} : { base: { seed: Number(values['base-seed']) } }),
    ...(jobs === undefined ? {} : { jobs }),
  })
}

const chosen = () => {
  const only = values.only?.split(',')
  const unknown = only?.find(name => !(comparisons as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new RangeError(`--only: expected some of ${comparisons.join(', ')}, got ${unknown}`)
  return comparisons.filter(name => only === undefined || only.includes(name))
}

async function makeBases(): Promise<void> {
  for (const name of chosen()) {
    const config = resolveCompareConfig(await configOf(name))
    const onStep = compareProgress(progress)
    const base = await prepareBase(config, {
      signal: stop.signal,
      onStep: (step, steps, loss) => onStep({ type: 'base', step, steps, loss }),
    })
    const took = base.seconds === undefined ? 'is there' : `made in ${base.seconds.toFixed(0)} s`
    console.log(`${name}: ${base.folder} ${took}`)
  }
}

async function main(): Promise<void> {
  await mkdir(results, { recursive: true })
  const failed: CompareResult['failed'] = []
  for (const name of chosen()) {
    const started = performance.now()
    const config = await configOf(name)
    const result = await compare(config, { signal: stop.signal, onEvent: compareProgress(progress) })
    progress.close()
    const text = await writeResult(results, result, resolveCompareConfig(config))
    console.log(`\n${name}\n\n${text}\n\n${((performance.now() - started) / 1000).toFixed(0)} s`)
    for (const each of result.failed) console.log(`failed: ${each.label}, seed ${each.seed}: ${each.message}`)
    failed.push(...result.failed)
  }
  const claims = claimsText(new Map(await Promise.all(comparisons.map(name => readResult(results, name)))))
  await tablesOf(results, comparisons, claims)
  console.log(`\n${claims}`)
  if (failed.length > 0) process.exitCode = failed[0]?.exitCode ?? 1
}

try {
  const [command = 'main'] = positionals
  if (values.quick || command === 'quick') {
    const seeds = values.seeds?.split(',').map(Number)
    await quick({ folder, out: values.out ?? 'runs/study-quick', seeds, jobs, signal: stop.signal, progress })
  } else if (command === 'base') await makeBases()
  else if (command === 'sweep') {
    await mkdir(results, { recursive: true })
    const onEvent = compareProgress(progress)
    console.log(await sweep({ folder, out, results, jobs, signal: stop.signal, onEvent }))
  } else if (command === 'main') await main()
  else throw new RangeError(`expected base, sweep, main or quick, got ${command}`)
} catch (error) {
  progress.close()
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = stop.signal.aborted ? (stop.signal.reason === 'SIGTERM' ? 143 : 130) : exitCodeOf(error)
}
