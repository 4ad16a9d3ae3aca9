// Types of scripts/build-native.mjs for lib/cli and the tests.
export interface BuildOptions {
  builder?: 'auto' | 'cmake' | 'node-gyp'
  folder?: string
  extraFlags?: string
  clean?: boolean
  jobs?: number
  onProgress?: (progress: { done: number; total: number; seconds: number }) => void
}

export interface BuildStatus {
  ok: boolean
  builder: 'cmake' | 'node-gyp' | null
  backends: string[]
  seconds: number
  upToDate: boolean
  addon: string
  compiler: string | null
  cmakeFound?: boolean
  warnings?: number
  /** LUFFY_CUDA and LUFFY_CUDA_ARCH, which the next build takes where they are not set. */
  choices?: { choice: string; architectures: string }
  /** Of luffy_cuda.so; `reason` says why there is none. */
  cuda?: { ok: boolean; architectures: string; seconds: number; reason: string | null }
  reason?: string
  hint?: string
  log: string
}

export const root: string
export function buildNative(options?: BuildOptions): Promise<BuildStatus>
export function describeBuild(status: BuildStatus): string
export function progressPrinter(stream?: NodeJS.WriteStream): NonNullable<BuildOptions['onProgress']>
export function readBuildStatus(): BuildStatus | null
