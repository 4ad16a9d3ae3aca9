// What goes to a machine with a card, as far as it can be tried without one: the check that every op has a case, the steps
// of gpu-run.sh with tools that only pretend, and the peers where there is no PyTorch.
import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { CounterRandom } from '../../lib/random.js'
import { shortened } from '../_helpers/case-export.js'
import { temporaryFolder } from '../_helpers/folders.js'

interface Ended {
  code: number
  output: string
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return new Promise(resolve => {
    execFile(command, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 200) : 0
      resolve({ code, output: stdout + stderr })
    })
  })
}

const listed = async () => {
  const text = await readFile(join(packageRoot, 'native/ops/op-list.h'), 'utf8')
  return [
    ...text
      .slice(text.indexOf('LUFFY_OPS(X)'))
      .split('LUFFY_QUERIES')[0]!
      .matchAll(/ X\((\w+)\)/g),
  ].map(([, name]) => name!.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()))
}

/** A case of an op on one tensor, with contents that look like another. */
const caseOf = (op: string, dtype: string) =>
  [
    `case ${op} 1 1 name`,
    `tensor 0 ${dtype} 3`,
    'view 1 0 1 1 2',
    'data 0 12',
    'call rope t1', // contents, no call
    'expect 1 share 0 1 4 out',
    'abcd',
    `call ${op} t1 0.5`,
    '',
  ].join('\n')

test('an op without a case, or without one in a dtype, is named', async t => {
  const folder = await temporaryFolder(t)
  const ops = await listed()
  t.true(ops.length > 30)
  const script = join(packageRoot, 'scripts/case-coverage.mjs')
  const check = async (made: readonly (readonly [string, string])[]) => {
    await writeFile(join(folder, 'a.cases'), made.map(([op, dtype]) => caseOf(op, dtype)).join(''))
    return run(process.execPath, [script, folder])
  }
  const all = ops.flatMap(op => ['float32', 'bfloat16'].map(dtype => [op, dtype] as const))
  t.deepEqual(await check(all), { code: 0, output: '' })
  t.deepEqual(await check(all.filter(([op]) => op !== 'rope')), {
    code: 1,
    output: 'rope has no case in float32\nrope has no case in bfloat16\n',
  })
  t.deepEqual(await check(all.filter(([op, dtype]) => op !== 'cast' || dtype !== 'bfloat16')), {
    code: 1,
    output: 'cast has no case in bfloat16\n',
  })
})

/** gpu-run.sh in a folder of its own, beside tools that do what their scripts say. */
async function gpuRun(folder: string, tools: Readonly<Record<string, string>>): Promise<Ended> {
  const bin = join(folder, 'bin')
  await mkdir(join(folder, 'scripts'), { recursive: true })
  await mkdir(bin, { recursive: true })
  await copyFile(join(packageRoot, 'scripts/gpu-run.sh'), join(folder, 'scripts/gpu-run.sh'))
  for (const [name, body] of Object.entries(tools)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`)
    await chmod(join(bin, name), 0o755)
  }
  const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: folder }
  return run('sh', [join(folder, 'scripts/gpu-run.sh'), join(folder, 'records')], env)
}

const card = 'case "$*" in *compute_cap*) echo 9.0 ;; *) echo "A card, 1, 2, 3" ;; esac'

test('gpu-run.sh without a GPU: one line and exit code 7', async t => {
  const folder = await temporaryFolder(t)
  const expected = { code: 7, output: 'no GPU: nvidia-smi names none\n' }
  t.deepEqual(await gpuRun(folder, { 'nvidia-smi': 'exit 9' }), expected)
  t.deepEqual(await gpuRun(folder, { 'nvidia-smi': 'echo "No devices were found"' }), expected)
})

test('gpu-run.sh stops when nothing can be built, and says why', async t => {
  const folder = await temporaryFolder(t)
  const { code } = await gpuRun(folder, {
    'nvidia-smi': card,
    cmake: 'echo one; echo "CMake error: no compiler"; echo; exit 3',
  })
  t.is(code, 1)
  const summary = await readFile(join(folder, 'records/summary.txt'), 'utf8')
  t.regex(
    summary,
    /^A card, 1, 2, 3\ncommit \w+\nconfigure: FAILED, exit code 3, in \d+ s: CMake error: no compiler\n$/,
  )
})

test('gpu-run.sh runs every later step whatever became of the others: a line each', async t => {
  const folder = await temporaryFolder(t)
  const programs = 'mkdir -p build/Release; for p in tests bench; do'
  const made = `${programs} printf '#!/bin/sh\\necho "goal op, case"; echo "FAILED op: $0"; echo end; exit 1\\n' >build/Release/luffy_kernel_$p; chmod +x build/Release/luffy_kernel_$p; done; echo made`
  const { code } = await gpuRun(folder, {
    'nvidia-smi': card,
    cmake: made,
    nvcc: 'echo "no device: nvcc only pretends"; exit 5',
    python3: 'echo "PyTorch is not installed: it is not"; exit 3',
    node: 'if [ "$1" = --version ]; then echo v20; else echo "TypeError: what"; exit 1; fi',
  })
  t.is(code, 1)
  const summary = await readFile(join(folder, 'records/summary.txt'), 'utf8')
  const lines = summary.trim().split('\n').slice(2)
  const expected = [
    /^configure: ok in \d+ s: made$/,
    /^build: ok in \d+ s: made$/,
    /^kernel-tests: FAILED, exit code 1, in \d+ s: FAILED op: /,
    /^peers: left out, PyTorch is not installed: it is not$/,
    /^kernel-bench: FAILED, exit code 1, in \d+ s: FAILED op: /,
    /^goal op, case$/,
    /^wrappers: FAILED, exit code 5, in \d+ s: no device: nvcc only pretends$/,
    /^node-tests: FAILED, exit code 1, in \d+ s: TypeError: what$/,
  ]
  t.is(lines.length, expected.length, summary)
  for (const [i, pattern] of expected.entries()) t.regex(lines[i]!, pattern)
})

test('card_peers.py without PyTorch, and with wrong arguments', async t => {
  const script = join(packageRoot, 'benchmarks/pytorch/card_peers.py')
  // Isolated and without site-packages: no PyTorch is found where there is one.
  const python = (...args: string[]) => run('python3', ['-I', '-S', script, ...args])
  const missing = { code: 3, output: "PyTorch is not installed: No module named 'torch'\n" }
  t.deepEqual(await python(), missing)
  t.deepEqual(await python('--check'), missing)
  const wrong = await python('--rounds', '0')
  t.is(wrong.code, 2)
  t.regex(wrong.output, /--rounds: expected at least 1, got 0/)
  t.is((await python('--round-about')).code, 2)
})

test('expected values of case files are near enough to what was expected, and short', t => {
  const random = new CounterRandom(1, 'shortened')
  const values = Float64Array.from({ length: 1000 }, (_, i) => random.normal() * 10 ** ((i % 9) - 4))
  const special = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 5e-324]
  special.forEach((x, i) => {
    values[i] = x
  })
  for (const kind of ['share', 'relative', 'absolute'] as const) {
    for (const limit of [0, 4e-7, 0.02]) {
      const short = shortened(values, { kind, limit })
      const largest = values.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0)
      let [worst, bits] = [0, 0]
      for (const [i, x] of values.entries()) {
        const got = short[i]!
        if (!Number.isFinite(x) || x === 0) t.true(Object.is(got, x), `${x} became ${got}`)
        else {
          const allowed = limit * { share: largest, relative: Math.abs(x), absolute: 1 }[kind]
          const error = Math.abs(got - x)
          if (error > 0) worst = Math.max(worst, error / allowed)
          if (got !== x) bits++
        }
      }
      t.true(worst <= 1 / 4096, `${kind} ${limit}: off by ${worst} of what is allowed`)
      t.is(bits > 900, limit > 0, `${kind} ${limit}: ${bits} values are shorter`)
    }
  }
  // In half the bytes where float32 is exact or near enough.
  t.true(shortened([0.5, -0, 3], { kind: 'relative', limit: 0 }) instanceof Float32Array)
  t.true(shortened([0.1, 3], { kind: 'relative', limit: 0 }) instanceof Float64Array)
  t.true(shortened([0.1, 3], { kind: 'absolute', limit: 0.02 }) instanceof Float32Array)
})
