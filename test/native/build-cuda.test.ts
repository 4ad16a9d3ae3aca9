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
interface BuildCuda {
  cudaIsWanted(tools: object, choice?: string): { wanted: boolean; reason: string | null }
  cudaFailure(status: Status, choice?: string): string | null
  buildCuda(work: {
    root: string
    jobs: number
    run: (command: string, args: string[]) => Promise<void>
  }): Promise<Status>
}
const { cudaIsWanted, cudaFailure, buildCuda } = (await import(
  pathToFileURL(join(packageRoot, 'scripts/build-cuda.mjs')).href
)) as BuildCuda

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
  })
  t.false(status.ok)
  t.regex(status.reason ?? '', /cmake/)
  t.regex(cudaFailure(status, 'on') ?? '', /^no CUDA kernels: .*cmake/)
  t.is(cudaFailure(status, 'auto'), null)
  t.is(cudaFailure({ ok: true, reason: null }, 'on'), null)
})
