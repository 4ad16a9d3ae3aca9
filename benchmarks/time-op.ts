// Times one call of an op under the roof that binds it: the bytes that it must move, at the bandwidth of scaling an array
// as large in place (of reading one, for an op that hardly writes), or its operations at the matrix rate.
import { CounterRandom } from '../lib/random.js'
import type { Tensor } from '../lib/tensor/tensor.js'
import type { HostTensor, OpCase } from '../test/_cases/case.js'
import { type Bench, type BenchCase, callsFor, inTurns, type Row, rowOf, timeOps } from './bench.js'

/** A case of test/_cases at a size of practice; its reference is not asked for. */
export type TimedOp = Omit<OpCase, 'reference'>

const secondsPerSample = 0.04
/** Smaller ones are over before two threads have begun. */
const smallestArray = 2 ** 18

/** One benchmark case for all calls of an op. */
export function opCase(stem: string, ops: readonly TimedOp[]): BenchCase {
  if (ops.length === 0) throw new Error(`${stem}: nothing to time`)
  return {
    name: `op ${stem}`,
    run: async bench => {
      const rows: Row[] = []
      for (const op of ops) rows.push(await timeOne(bench, stem, op))
      return rows
    },
  }
}

async function timeOne(bench: Bench, stem: string, op: TimedOp): Promise<Row> {
  const { device, roofs } = bench
  const tensors: Record<string, Tensor> = {}
  device.scope(() => {
    for (const [name, input] of Object.entries(op.make(new QuickRandom(1, 'benchmark')))) {
      tensors[name] = upload(bench, input)
    }
    for (const [name, { shape, dtype }] of Object.entries(op.outputs)) {
      tensors[name] = device.empty(shape, dtype)
    }
    op.prepare?.(device, tensors)
    device.keep(Object.values(tensors))
  })
  const enqueue = () => op.enqueue(device, tensors)
  const calls = await callsFor(device, secondsPerSample, enqueue)
  const reads = bytesWritten(op, tensors) < op.bytes / 10
  const bandwidth = () =>
    reads
      ? roofs.readBandwidth(Math.max(smallestArray, op.bytes))
      : roofs.scaleBandwidth(Math.max(smallestArray, op.bytes / 2))
  const isMemoryBound = op.bytes / (await bandwidth()) >= op.flops / (await roofs.matrixRate())
  const paired = await inTurns(
    { ...bench, seconds: bench.seconds / 2, rounds: Math.ceil(bench.rounds / 2) },
    () => timeOps(device, calls, enqueue),
    () => (isMemoryBound ? bandwidth() : roofs.matrixRate()),
  )
  for (const tensor of Object.values(tensors)) tensor.dispose()
  const name = `${stem}, ${op.name}`
  return isMemoryBound
    ? rowOf('op', name, paired, op.bytes, 'GB/s', reads ? 'reading' : 'scaling in place')
    : rowOf('op', name, paired, op.flops, 'GFLOP/s', 'matrix rate')
}

function bytesWritten(op: TimedOp, tensors: Readonly<Record<string, Tensor>>): number {
  // Elements of all results have about four bytes.
  return [...Object.keys(op.outputs), ...(op.written ?? [])].reduce(
    (sum, name) => sum + 4 * (tensors[name]?.size ?? 0),
    0,
  )
}

function upload({ device }: Bench, { dtype, shape, data }: HostTensor): Tensor {
  const tensor = device.empty(shape, dtype)
  device.write(tensor, data)
  return tensor
}

/** Fast numbers of no quality: the counter-based ones take seconds for arrays of this size. */
export class QuickRandom extends CounterRandom {
  #state = 12345

  override uint32(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return this.#state
  }

  override uniform(): number {
    return this.uint32() / 2 ** 32
  }

  /** Mean 0 and deviation 1 as well, but uniform. */
  override normal(): number {
    return Math.sqrt(12) * (this.uniform() - 0.5)
  }
}
