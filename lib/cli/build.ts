// `luffy build`: builds the native kernels of this package, with the same module that `npm install` uses.
import type { BuildOptions, BuildStatus } from '../../scripts/build-native.mjs'
import { importBuild } from './package-scripts.js'

export interface BuildResult {
  status: BuildStatus
  /** One line for a person. */
  text: string
}

/** Builds the addon. A build that fails is a result with `status.ok` false and the repair in `text`. */
export async function runBuild(
  options: Pick<BuildOptions, 'builder' | 'clean' | 'jobs'> = {},
  stream?: NodeJS.WriteStream,
): Promise<BuildResult> {
  const { buildNative, describeBuild, progressPrinter } = await importBuild()
  const status = await buildNative(stream ? { ...options, onProgress: progressPrinter(stream) } : options)
  return { status, text: describeBuild(status) }
}
