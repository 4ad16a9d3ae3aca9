// What kernels move, counted by the emulated device (EMULATOR_TRACE) while ops run through the JavaScript API, against what
// they must move. The counts are committed (native/ops/kernel-traffic.json); scripts/kernel-traffic.mjs renews them.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { packageRoot } from '../../lib/native-loader.js'
import { CounterRandom } from '../../lib/random.js'
import { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import type { OpCase } from '../_cases/case.js'
import { withEnvironment } from '../_helpers/environment.js'

/** What all launches of a kernel in a case need: each input byte once, each output byte once. */
export interface Bound {
  reads: number
  writes: number
  flops: number
  /** Bytes that every warp may read besides: scalars, an index. */
  scalars?: number
  /** Bytes that the kernel moves once more because it is built so. */
  again?: { reads?: number; writes?: number; why: string }
  /** The least share of sectors that may be of use, where that is not all of them. */
  sectors?: { loads?: number; stores?: number; why: string }
}

export interface TrafficCase {
  stem: string
  /** The device (EMULATOR_ARCH), where the kernel to be counted is chosen by it. Default 80. */
  arch?: '90' | '120'
  op: Omit<OpCase, 'reference'>
  /** By the kernel's name without template arguments. */
  kernels: Readonly<Record<string, Bound>>
}

/** A line of EMULATOR_TRACE: one launch. */
interface Launch {
  kernel: string
  blocks: number
  threads: number
  sharedBytes: number
  loadBytes: number
  loadSectors: number
  loadIdealSectors: number
  storeBytes: number
  storeSectors: number
  storeIdealSectors: number
  matrixPhases: number
  bankConflicts: number
  matrixProducts: number
}

/** A kernel of a case, its launches summed up. */
export interface KernelRecord {
  /** With template arguments; several where a case launches several. */
  instances: string[]
  launches: number
  blocks: number
  threads: number
  sharedBytes: number
  minimalRead: number
  read: number
  mostRead: number
  minimalWritten: number
  written: number
  mostWritten: number
  /** Counted bytes over minimal ones. */
  ratio: number
  loadSectors: number
  idealLoadSectors: number
  storeSectors: number
  idealStoreSectors: number
  matrixPhases: number
  bankConflicts: number
  /** mma instructions of a warp. */
  matrixProducts: number
  flops: number
  /** FLOPs for each minimal byte. */
  intensity: number
  /** Why it moves more than the minimum, or parts of sectors. */
  why?: string[]
}

/** By stem, case and kernel. */
export type TrafficRecord = Record<string, Record<string, Record<string, KernelRecord>>>

/** Kernels whose memory is read by plain loads, which the source's counters do not see. */
export const uncounted: Readonly<Record<string, string>> = {
  attention_plan_kernel: 'one block over a table of 16 bytes a sequence',
}

const plainName = (kernel: string) => kernel.replaceAll('luffy::cuda::', '')
export const baseName = (instance: string) => instance.split('<')[0] as string
const rounded = (x: number) => Number(x.toPrecision(4))

function recordOf(launches: readonly Launch[], bound: Bound): KernelRecord {
  const sum = (field: Exclude<keyof Launch, 'kernel'>) =>
    launches.reduce((total, launch) => total + launch[field], 0)
  const most = (field: 'threads' | 'sharedBytes') => Math.max(...launches.map(launch => launch[field]))
  const warps = launches.reduce((total, { blocks, threads }) => total + blocks * Math.ceil(threads / 32), 0)
  const { reads, writes, flops, scalars = 0, again, sectors } = bound
  const why = [again?.why, sectors?.why].filter(text => text !== undefined)
  return {
    instances: [...new Set(launches.map(({ kernel }) => plainName(kernel)))],
    launches: launches.length,
    blocks: sum('blocks'),
    threads: most('threads'),
    sharedBytes: most('sharedBytes'),
    minimalRead: reads,
    read: sum('loadBytes'),
    mostRead: reads + (again?.reads ?? 0) + scalars * warps,
    minimalWritten: writes,
    written: sum('storeBytes'),
    mostWritten: writes + (again?.writes ?? 0),
    ratio: rounded((sum('loadBytes') + sum('storeBytes')) / (reads + writes)),
    loadSectors: sum('loadSectors'),
    idealLoadSectors: sum('loadIdealSectors'),
    storeSectors: sum('storeSectors'),
    idealStoreSectors: sum('storeIdealSectors'),
    matrixPhases: sum('matrixPhases'),
    bankConflicts: sum('bankConflicts'),
    matrixProducts: sum('matrixProducts'),
    flops,
    intensity: rounded(flops / (reads + writes)),
    ...(why.length > 0 ? { why } : {}),
  }
}

/** Share of the sectors that the bytes needed; 1 where none was touched. */
export const sectorUse = (ideal: number, actual: number) => (actual === 0 ? 1 : ideal / actual)

/** What a record says that no kernel may do, in words. */
export function brokenGates(cases: readonly TrafficCase[], record: TrafficRecord): string[] {
  const wrong: string[] = []
  for (const { stem, op, kernels } of cases) {
    for (const [kernel, bound] of Object.entries(kernels)) {
      const now = record[stem]?.[op.name]?.[kernel]
      const where = `${stem}, ${op.name}: ${kernel}`
      if (now === undefined) {
        wrong.push(`${where}: was not launched`)
        continue
      }
      const between = (what: string, least: number, bytes: number, most: number) => {
        if (bytes < least)
          wrong.push(`${where} ${what} ${bytes} bytes, and the formula says ${least} at least`)
        if (bytes > most) wrong.push(`${where} ${what} ${bytes} bytes, may ${most} (needs ${least})`)
      }
      between('reads', now.minimalRead, now.read, now.mostRead)
      between('writes', now.minimalWritten, now.written, now.mostWritten)
      const uses = [
        ['loads', sectorUse(now.idealLoadSectors, now.loadSectors)],
        ['stores', sectorUse(now.idealStoreSectors, now.storeSectors)],
      ] as const
      for (const [kind, use] of uses) {
        const least = bound.sectors?.[kind] ?? 1
        if (use < least)
          wrong.push(
            `${where} ${kind} use ${(100 * use).toFixed(1)} % of their sectors, expected ${100 * least} %`,
          )
      }
      if (now.bankConflicts > 0) wrong.push(`${where}: ldmatrix meets ${now.bankConflicts} bank conflicts`)
    }
  }
  return wrong
}

/** Every difference between what was counted and the committed record, in words. */
export function changes(measured: TrafficRecord, known: TrafficRecord): string[] {
  const found: string[] = []
  const keys = (a: object = {}, b: object = {}) => [...new Set([...Object.keys(a), ...Object.keys(b)])]
  for (const stem of keys(measured, known)) {
    for (const name of keys(measured[stem], known[stem])) {
      for (const kernel of keys(measured[stem]?.[name], known[stem]?.[name])) {
        const where = `${stem}, ${name}: ${kernel}`
        const now = measured[stem]?.[name]?.[kernel]
        const was = known[stem]?.[name]?.[kernel]
        if (now === undefined || was === undefined) {
          found.push(
            `${where}: ${now === undefined ? 'in the record, and not launched' : 'not in the record'}`,
          )
          continue
        }
        for (const field of keys(now, was) as (keyof KernelRecord)[]) {
          const [before, after] = [JSON.stringify(was[field]), JSON.stringify(now[field])]
          if (before !== after) found.push(`${where}: ${field} ${after}, the record says ${before}`)
        }
      }
    }
  }
  return found
}

/** Runs the cases on the emulated device of this process, whose EMULATOR_TRACE names `file`. */
export async function countTraffic(cases: readonly TrafficCase[], file: string): Promise<TrafficRecord> {
  writeFileSync(file, '')
  const record: TrafficRecord = {}
  const device = await Device.open('emulated')
  try {
    for (const { stem, op, kernels, arch = '80' } of cases) {
      const tensors: Record<string, Tensor> = {}
      device.scope(() => {
        for (const [name, { dtype, shape, data }] of Object.entries(
          op.make(new CounterRandom(1, 'traffic')),
        )) {
          tensors[name] = device.empty(shape, dtype)
          device.write(tensors[name], data)
        }
        for (const [name, { shape, dtype }] of Object.entries(op.outputs))
          tensors[name] = device.empty(shape, dtype)
        op.prepare?.(device, tensors)
        device.keep(Object.values(tensors))
      })
      await device.synchronize()
      const begin = readFileSync(file, 'utf8').length
      await withEnvironment({ EMULATOR_ARCH: arch }, async () => {
        op.enqueue(device, tensors)
        await device.synchronize()
      })
      const lines = readFileSync(file, 'utf8').slice(begin).split('\n').filter(Boolean)
      for (const tensor of Object.values(tensors)) tensor.dispose()

      const launches = new Map<string, Launch[]>()
      for (const launch of lines.map(line => JSON.parse(line) as Launch)) {
        const kernel = baseName(plainName(launch.kernel))
        if (kernel in uncounted) continue
        if (kernels[kernel] === undefined)
          throw new Error(`${stem}, ${op.name}: launches ${kernel}, and the case says nothing of it`)
        launches.set(kernel, [...(launches.get(kernel) ?? []), launch])
      }
      record[stem] ??= {}
      if (record[stem][op.name] !== undefined) throw new Error(`${stem}: two cases are called ${op.name}`)
      record[stem][op.name] = Object.fromEntries(
        [...launches].map(([kernel, those]) => [kernel, recordOf(those, kernels[kernel] as Bound)]),
      )
    }
  } finally {
    await device.dispose()
  }
  return record
}

/** The same in a process of its own; `stems`: only these. */
export async function measureTraffic(stems: readonly string[] = []): Promise<TrafficRecord> {
  const folder = mkdtempSync(join(tmpdir(), 'luffy-traffic-'))
  try {
    const clean = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('EMULATOR_') || ['EMULATOR_LEG', 'EMULATOR_ARCH'].includes(name),
    )
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(packageRoot, 'dist/test/emulator/_run-traffic.js'), ...stems],
      {
        env: { ...Object.fromEntries(clean), EMULATOR_TRACE: join(folder, 'launches.jsonl') },
        maxBuffer: 1 << 26,
      },
    )
    return JSON.parse(stdout) as TrafficRecord
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const recordPath = join(packageRoot, 'native/ops/kernel-traffic.json')
export const readRecord = (): TrafficRecord => JSON.parse(readFileSync(recordPath, 'utf8')) as TrafficRecord
