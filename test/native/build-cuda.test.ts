// LUFFY_CUDA: what a build does when its CUDA kernels cannot be made (scripts/build-cuda.mjs).
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'

interface Status {
  ok: boolean
  reason: string | null
}
interface Choices {
  choice: string
  architectures: string
}
interface BuildCuda {
  architectureFault(text: string, known: readonly string[]): string | null
  cudaChoices(last: Choices | undefined, env: Record<string, string>): Choices
  cudaIsWanted(tools: object, choice: string): { wanted: boolean; reason: string | null }
  cudaFailure(status: Status, choice: string): string | null
  buildCuda(work: {
    root: string
    jobs: number
    run: (command: string, args: string[]) => Promise<void>
    nvcc: string
    chosen: string
  }): Promise<Status>
}
const importScript = (name: string) => import(pathToFileURL(join(packageRoot, 'scripts', name)).href)
const { architectureFault, cudaChoices, cudaIsWanted, cudaFailure, buildCuda } = (await importScript(
  'build-cuda.mjs',
)) as BuildCuda
const { firstError } = (await importScript('build-native.mjs')) as {
  firstError(lines: readonly string[]): string | undefined
}

test('without nvcc: on is an error that says so, auto is a build without CUDA', t => {
  const none = { nvcc: null }
  for (const choice of ['auto', 'on']) {
    const { wanted, reason } = cudaIsWanted(none, choice)
    t.false(wanted)
    t.is(reason, 'nvcc was not found')
    const failure = cudaFailure({ ok: false, reason }, choice)
    t.is(failure, choice === 'on' ? 'no CUDA kernels: nvcc was not found' : null)
  }
  t.deepEqual(cudaIsWanted(none, 'off'), { wanted: false, reason: 'LUFFY_CUDA=off' })
  t.is(cudaFailure({ ok: false, reason: 'LUFFY_CUDA=off' }, 'off'), null)
})

test('a word that is none of the three is an error that names them', t => {
  const { wanted, reason } = cudaIsWanted({ nvcc: null }, 'yes')
  t.false(wanted)
  t.is(
    cudaFailure({ ok: false, reason }, 'yes'),
    "no CUDA kernels: LUFFY_CUDA is 'yes', expected auto, on or off",
  )
})

test("a build that fails is told and does not throw; on makes it the whole build's, auto does not", async t => {
  // A folder without sources: the first command fails.
  const root = await temporaryFolder(t)
  const status = await buildCuda({
    root,
    jobs: 1,
    run: async (command, args) => void execFileSync(command, args, { stdio: 'pipe' }),
    nvcc: 'nvcc',
    chosen: '',
  })
  t.false(status.ok)
  t.regex(status.reason ?? '', /cmake/)
  t.regex(cudaFailure(status, 'on') ?? '', /^no CUDA kernels: .*cmake/)
  t.is(cudaFailure(status, 'auto'), null)
  t.is(cudaFailure({ ok: true, reason: null }, 'on'), null)
})

test('architectures that nvcc does not know are named, with those that it does, and nothing is built', async t => {
  const known = ['80', '90', '120']
  for (const text of ['80', '90a', '90a-real', '80;90a-real;120'])
    t.is(architectureFault(text, known), null, text)
  for (const text of ['99', 'abc', '70', '90a real', '90;banana', '80;', '80,90'])
    t.regex(architectureFault(text, known) ?? '', /LUFFY_CUDA_ARCH is '.*' is none of 80, 90, 120/, text)
  let ran = 0
  const status = await buildCuda({
    root: '/nowhere',
    jobs: 1,
    run: async () => void ran++,
    nvcc: '/nowhere/nvcc',
    chosen: 'abc',
  })
  t.is(ran, 0)
  t.regex(status.reason ?? '', /'abc' is none of none/)
  t.regex(cudaFailure(status, 'auto') ?? '', /LUFFY_CUDA_ARCH/)
})

test('the choices of the last build hold where the environment says nothing', t => {
  const last = { choice: 'off', architectures: '90a' }
  t.deepEqual(cudaChoices(last, {}), last)
  t.deepEqual(cudaChoices(undefined, {}), { choice: 'auto', architectures: '' })
  t.deepEqual(cudaChoices(last, { LUFFY_CUDA: 'auto', LUFFY_CUDA_ARCH: '' }), {
    choice: 'auto',
    architectures: '',
  })
})

test('what a build failed of is the line that says it', t => {
  const cmake = [
    '-- Looking',
    'CMake Error at a.cmake:3 (message):',
    '  The CUDA compiler',
    '',
    '  is broken',
    'x',
    'y',
  ]
  t.is(
    firstError([...cmake, "nvcc fatal   : Unsupported gpu architecture 'compute_99'"]),
    "nvcc fatal   : Unsupported gpu architecture 'compute_99'",
  )
  t.is(firstError(cmake), 'CMake Error at a.cmake:3 (message): The CUDA compiler is broken')
  t.is(firstError(['a.cpp:3:1: error: no', 'make: *** [all] Error 2']), 'a.cpp:3:1: error: no')
  t.is(firstError(['', 'gmake: *** [Makefile:91: all] Error 2', '']), 'gmake: *** [Makefile:91: all] Error 2')
  t.is(firstError([]), undefined)
})
