// Builds build/Release/luffy_cuda.so, the CUDA backend, with CMake and nvcc. A failure costs CUDA only: the addon that
// was built before stays as it is. LUFFY_CUDA=off leaves it out, =on makes its failure the build's; LUFFY_CUDA_ARCH
// names the architectures ("90a", "80;90a-real;120").
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cmakeIsUsable } from './native-tools.mjs'

const everyArchitecture = '80;90a-real;120'

// The architecture of the GPU in this machine, as nvcc names it, or null.
function presentArchitecture() {
  const { status, stdout } = spawnSync('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  if (status !== 0) return null
  const found = [...new Set(stdout.split('\n').map(line => line.trim().replace('.', '')))].filter(text =>
    /^\d+$/.test(text),
  )
  return found.length > 0 ? found.map(text => (text === '90' ? '90a' : text)).join(';') : null
}

// Whether this build is to hold CUDA kernels, and if not, why: { wanted, reason }.
export function cudaIsWanted(tools, choice = process.env.LUFFY_CUDA ?? 'auto') {
  if (!['auto', 'on', 'off'].includes(choice))
    return { wanted: false, reason: `LUFFY_CUDA is '${choice}', expected auto, on or off` }
  if (choice === 'off') return { wanted: false, reason: 'LUFFY_CUDA=off' }
  const reason = !tools.nvcc ? 'nvcc was not found' : !cmakeIsUsable(tools) ? 'CMake was not found' : null
  return { wanted: reason === null, reason }
}

// Why a build without these CUDA kernels has failed, or null: LUFFY_CUDA=on asks for them, and so does what is no word.
export function cudaFailure(status, choice = process.env.LUFFY_CUDA ?? 'auto') {
  if (status.ok || ['auto', 'off'].includes(choice)) return null
  return `no CUDA kernels: ${status.reason}`
}

// { ok, architectures, seconds, reason }. `run(command, args)` runs a command into the build's log and throws what it
// could not do; never rejects.
export async function buildCuda({ root, jobs, run }) {
  const start = performance.now()
  const architectures = process.env.LUFFY_CUDA_ARCH ?? presentArchitecture() ?? everyArchitecture
  const status = { ok: false, architectures, seconds: 0, reason: null }
  const work = join(root, 'build/cmake-cuda')
  try {
    const generated = existsSync(join(work, 'build.ninja')) || existsSync(join(work, 'Makefile'))
    if (!generated) rmSync(work, { recursive: true, force: true })
    await run('cmake', ['-S', root, '-B', work, '-DLUFFY_PART=cuda', `-DLUFFY_CUDA_ARCH=${architectures}`])
    await run('cmake', ['--build', work, '--parallel', String(jobs)])
    status.ok = true
  } catch (error) {
    status.reason = error instanceof Error ? error.message : String(error)
  }
  status.seconds = Number(((performance.now() - start) / 1000).toFixed(1))
  return status
}
