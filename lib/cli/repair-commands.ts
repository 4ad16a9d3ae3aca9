// `luffy doctor` and `luffy build`: the commands that work without the native kernels. What they find and do is in
// doctor.ts and build.ts; here it is printed and becomes an exit code.
import { ConfigError, DeviceError, NativeMissingError } from '../errors.js'
import { runBuild } from './build.js'
import { formatDoctor, runDoctor } from './doctor.js'
import { print } from './terminal.js'

export async function doctorCommand(json: boolean): Promise<number> {
  const report = await runDoctor()
  print(json ? JSON.stringify(report, null, 2) : formatDoctor(report))
  const [first, ...more] = report.problems.filter(problem => problem.fatal)
  if (first === undefined) return 0
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`
  throw new NativeMissingError(`${first.what}${others}`, { hint: first.repair })
}

export interface BuildCommandOptions {
  cpu?: boolean
  cuda?: boolean
  clean: boolean
  jobs?: number
}

export async function buildCommand(options: BuildCommandOptions): Promise<number> {
  if (options.cuda && options.cpu) throw new ConfigError('build: expected --cpu or --cuda, got both')
  if (options.cuda) {
    throw new DeviceError('build --cuda: the CUDA kernels have no build of their own', {
      code: 'CUDA_UNAVAILABLE',
      hint: 'luffy build makes them beside those of the CPU, where nvcc and CMake are found',
    })
  }
  const { clean, jobs } = options
  const { status, text } = await runBuild({ clean, ...(jobs === undefined ? {} : { jobs }) }, process.stderr)
  if (status.ok) {
    print(text)
    return 0
  }
  throw new NativeMissingError(`native kernels are not built: ${status.reason ?? 'the build failed'}`, {
    hint: `${status.hint ?? 'see npx luffy doctor'} (log: ${status.log})`,
  })
}
