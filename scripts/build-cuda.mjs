// Builds build/Release/luffy_cuda.so, the CUDA backend, with CMake and nvcc. A failure costs CUDA only: the addon that
// was built before stays as it is. LUFFY_CUDA=off leaves it out, =on makes its failure the build's; LUFFY_CUDA_ARCH
// names the architectures ("90a", "80;90a-real;120"). What they said in the last build holds where they say nothing.
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

const least = 80

// What is wrong with these architectures for this nvcc, or null.
export function architectureFault(text, known) {
  const entries = text.split(';')
  const isKnown = entry => {
    const number = /^(\d{2,3})[af]?(-real|-virtual)?$/.exec(entry)?.[1]
    return number !== undefined && known.includes(number)
  }
  const wrong = entries.find(entry => !isKnown(entry))
  if (wrong === undefined) return null
  const list = known.length > 0 ? known.join(', ') : 'none'
  return `LUFFY_CUDA_ARCH is '${text}': '${wrong}' is none of ${list}, which may end in a and in -real, joined by ';' (90a-real, 80;90a-real;120)`
}

// The numbers of the architectures that nvcc compiles for, those that luffy's kernels can use.
function knownArchitectures(nvcc) {
  const { stdout } = spawnSync(nvcc, ['--list-gpu-arch'], { encoding: 'utf8', timeout: 20_000 })
  return [...(stdout ?? '').matchAll(/compute_(\d+)/g)]
    .map(match => match[1])
    .filter(text => Number(text) >= least)
}

// The choices of this build: what the environment says, else what it said for the last one. LUFFY_CUDA=auto and an empty
// LUFFY_CUDA_ARCH forget that.
export function cudaChoices(last, env = process.env) {
  const architectures = env.LUFFY_CUDA_ARCH ?? last?.architectures ?? ''
  return { choice: env.LUFFY_CUDA ?? last?.choice ?? 'auto', architectures: architectures.trim() }
}

// Whether this build is to hold CUDA kernels, and if not, why: { wanted, reason }.
export function cudaIsWanted(tools, choice) {
  if (!['auto', 'on', 'off'].includes(choice))
    return { wanted: false, reason: `LUFFY_CUDA is '${choice}', expected auto, on or off` }
  if (choice === 'off') return { wanted: false, reason: 'LUFFY_CUDA=off' }
  const reason = !tools.nvcc ? 'nvcc was not found' : !cmakeIsUsable(tools) ? 'CMake was not found' : null
  return { wanted: reason === null, reason }
}

// Why a build without these CUDA kernels has failed, or null: LUFFY_CUDA=on asks for them, and so does a choice that is none.
export function cudaFailure(status, choice) {
  if (status.ok || (['auto', 'off'].includes(choice) && !status.mistaken)) return null
  return `no CUDA kernels: ${status.reason}`
}

// { ok, architectures, seconds, reason, mistaken: architectures that there are not } for `chosen` architectures, or where they are '' those of the GPU that is here, or
// all. `run(command, args)` runs a command into the build's log and throws what it could not do; never rejects.
export async function buildCuda({ root, jobs, run, nvcc, chosen }) {
  const start = performance.now()
  const architectures = chosen || presentArchitecture() || everyArchitecture
  const status = { ok: false, architectures, seconds: 0, reason: null }
  const fault = chosen ? architectureFault(chosen, knownArchitectures(nvcc)) : null
  if (fault !== null) return { ...status, reason: fault, mistaken: true }
  const work = join(root, 'build/cmake-cuda')
  try {
    const generated = existsSync(join(work, 'build.ninja')) || existsSync(join(work, 'Makefile'))
    if (!generated) rmSync(work, { recursive: true, force: true })
    const options = [
      '-DLUFFY_PART=cuda',
      `-DLUFFY_CUDA_ARCH=${architectures}`,
      `-DCMAKE_CUDA_COMPILER=${nvcc}`,
    ]
    await run('cmake', ['-S', root, '-B', work, ...options])
    await run('cmake', ['--build', work, '--parallel', String(jobs)])
    status.ok = true
  } catch (error) {
    status.reason = error instanceof Error ? error.message : String(error)
  }
  status.seconds = Number(((performance.now() - start) / 1000).toFixed(1))
  return status
}
