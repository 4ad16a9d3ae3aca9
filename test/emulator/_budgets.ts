// The table of registers, shared memory and machine instructions (native/ops/kernel-budgets.json), and how many blocks of
// threads it lets a multiprocessor hold.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/native-loader.js'

type Instruction =
  | 'mma'
  | 'ldmatrix'
  | 'asyncCopies'
  | 'loads'
  | 'loads64'
  | 'loads128'
  | 'stores'
  | 'stores64'
  | 'stores128'
  | 'local'

export interface Budget {
  registers: number
  spills: number
  stack: number
  shared: number
  reason?: string
  /** Machine instructions by kind (scripts/sass.mjs), where they are known. */
  sass?: Partial<Record<Instruction, number>>
}

export const architectures = ['80', '90a', '120'] as const
export type Architecture = (typeof architectures)[number]

/** By file, architecture and kernel. */
export const budgets = JSON.parse(
  readFileSync(join(packageRoot, 'native/ops/kernel-budgets.json'), 'utf8'),
) as { nvcc: string; kernels: Record<string, Record<Architecture, Record<string, Budget>>> }

// Of a multiprocessor: registers 65,536 everywhere, allotted to warps by 256; of shared memory each block loses 1 KiB.
const processors = {
  80: { shared: 164 * 1024, threads: 2048, blocks: 32 },
  '90a': { shared: 228 * 1024, threads: 2048, blocks: 32 },
  120: { shared: 100 * 1024, threads: 1536, blocks: 24 },
} as const

/** Blocks of so many threads, with so many bytes of dynamic shared memory, that a multiprocessor holds side by side. */
export function residentBlocks(
  arch: Architecture,
  { registers, shared }: Budget,
  threads: number,
  dynamicBytes: number,
): number {
  const processor = processors[arch]
  const warps = Math.ceil(threads / 32)
  const byRegisters = Math.floor(65_536 / (Math.ceil((registers * 32) / 256) * 256) / warps)
  const byShared = Math.floor(processor.shared / (dynamicBytes + shared + 1024))
  return Math.min(byRegisters, byShared, Math.floor(processor.threads / (32 * warps)), processor.blocks)
}

/** Warps that are resident, of those that could be. */
export function occupancy(arch: Architecture, budget: Budget, threads: number, dynamicBytes: number): number {
  const warps = residentBlocks(arch, budget, threads, dynamicBytes) * Math.ceil(threads / 32)
  return warps / (processors[arch].threads / 32)
}

/** g++ writes names of template arguments where c++filt writes numbers, and the words of a type in another order. */
const reductions = ['sum', 'sum_of_squares', 'largest_absolute', 'non_finite']
const inTable = (instance: string) =>
  instance
    .replaceAll('short unsigned int', 'unsigned short')
    .replace(/luffy::Reduction::(\w+)/, (_, name) => `(luffy::Reduction)${reductions.indexOf(name)}`)

/** A kernel by the name that the emulated device launches it under. */
export function findBudget(instance: string, arch: Architecture): { file: string; budget: Budget } {
  for (const [file, kernels] of Object.entries(budgets.kernels)) {
    const budget = kernels[arch][inTable(instance)]
    if (budget !== undefined) return { file, budget }
  }
  throw new Error(`kernel-budgets.json has no ${inTable(instance)} for sm_${arch}`)
}
