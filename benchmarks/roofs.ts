// The roofs of this machine: the best float32 matrix rate (ours or oneDNN's, over large shapes), and the bandwidth of
// reading and of scaling an array in place, on a device with memory of its own of summing and of copying one there. Each
// call measures anew, for a few milliseconds.
import { matmul } from '../lib/ops/matmul.js'
import type { Device } from '../lib/tensor/device.js'
import type { Tensor } from '../lib/tensor/tensor.js'
import { timeOps } from './bench.js'
import type { Peer, ProductShape } from './peer.js'
import { mean } from './statistics.js'

const plain = { transposeA: false, transposeB: false }
const shapes: readonly ProductShape[] = [
  { m: 1024, n: 1024, k: 1024, ...plain },
  { m: 2048, n: 1024, k: 512, ...plain },
  { m: 4096, n: 384, k: 1024, ...plain },
  { m: 4096, n: 384, k: 1024, transposeA: false, transposeB: true },
  { m: 384, n: 4096, k: 1024, ...plain },
]

/** The emulated device runs a thread at a time. */
const smallShapes: readonly ProductShape[] = [{ m: 64, n: 64, k: 64, ...plain }]

export const flopsOf = ({ m, n, k }: ProductShape) => 2 * m * n * k
export const nameOf = ({ m, n, k, transposeA, transposeB }: ProductShape) =>
  `${m}x${n}x${k} ${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`

interface OurProduct {
  shape: ProductShape
  a: Tensor
  b: Tensor
}

export class Roofs {
  readonly #device: Device
  readonly #peer: Peer | undefined
  #ours: OurProduct | undefined
  #theirs: ProductShape | undefined
  /** Every rate that was measured, for the record. */
  readonly history: { ours: number[]; onednn: number[]; read: number[]; scale: number[] } = {
    ours: [],
    onednn: [],
    read: [],
    scale: [],
  }

  constructor(device: Device, peer: Peer | undefined) {
    this.#device = device
    this.#peer = peer
  }

  /** Picks the shape at which each side is fastest; the rounds between the cases measure these. */
  async calibrate(): Promise<void> {
    let best = 0
    for (const shape of this.#device.name === 'emulated' ? smallShapes : shapes) {
      const operands = operandsOf(this.#device, shape)
      const rate = Math.max(...(await this.#rates(shape, operands, 3)))
      if (rate > best) {
        best = rate
        this.#ours?.a.dispose()
        this.#ours?.b.dispose()
        this.#ours = { shape, ...operands }
      } else {
        operands.a.dispose()
        operands.b.dispose()
      }
    }
    if (!this.#peer?.onednn) return
    best = 0
    for (const shape of shapes) {
      const rate = flopsOf(shape) / Math.min(...(await this.#peer.product(shape, 6)))
      if (rate > best) {
        best = rate
        this.#theirs = shape
      }
    }
  }

  /** FLOPs per second, the larger of our best product and oneDNN's, each over some 50 ms. */
  async matrixRate(): Promise<number> {
    if (this.#ours === undefined) await this.calibrate()
    const { shape, ...operands } = this.#ours as OurProduct
    const ours = mean(await this.#rates(shape, operands, 5))
    this.history.ours.push(ours)
    if (this.#peer === undefined || this.#theirs === undefined) return ours
    const onednn = flopsOf(this.#theirs) / mean(await this.#peer.product(this.#theirs, 10))
    this.history.onednn.push(onednn)
    return Math.max(ours, onednn)
  }

  /** Bytes per second; NaN on the CPU without the peer program. */
  async readBandwidth(bytes = 2 ** 26): Promise<number> {
    const rate = (await this.#peer?.readBandwidth(bytes)) ?? (await this.#deviceBandwidth(bytes, 'read'))
    this.history.read.push(rate)
    return rate
  }

  /** Bytes per second, read and written; NaN on the CPU without the peer program. */
  async scaleBandwidth(bytes = 2 ** 26): Promise<number> {
    const rate = (await this.#peer?.scaleBandwidth(bytes)) ?? (await this.#deviceBandwidth(bytes, 'copy'))
    this.history.scale.push(rate)
    return rate
  }

  /** Of an array of `bytes` in the memory of a device that is not the CPU. */
  async #deviceBandwidth(bytes: number, kind: 'read' | 'copy'): Promise<number> {
    const device = this.#device
    if (device.name === 'cpu') return Number.NaN
    const from = device.zeros([Math.max(1, Math.floor(bytes / 4))])
    const to = kind === 'read' ? device.empty([1], 'float64') : device.empty(from.shape)
    const seconds = await timeOps(device, 4, () => {
      if (kind === 'read') device.ops.reduce(device.handle, from.handle, 0, to.handle)
      else device.ops.cast(device.handle, from.handle, to.handle)
    })
    from.dispose()
    to.dispose()
    return ((kind === 'read' ? 4 : 8) * from.size) / seconds
  }

  async #rates(shape: ProductShape, { a, b }: { a: Tensor; b: Tensor }, samples: number): Promise<number[]> {
    const rates: number[] = []
    for (let i = 0; i < samples; i++) {
      const seconds = await timeOps(this.#device, 2, () => matmul(a, b, shape))
      rates.push(flopsOf(shape) / seconds)
    }
    return rates
  }
}

/** Random operands of a product, kept until they are disposed. */
export function operandsOf(device: Device, shape: ProductShape): { a: Tensor; b: Tensor } {
  const { m, n, k, transposeA, transposeB } = shape
  const make = (rows: number, columns: number) =>
    device.keep(device.float32(randomFloats(rows * columns), [rows, columns]))
  return { a: transposeA ? make(k, m) : make(m, k), b: transposeB ? make(n, k) : make(k, n) }
}

/** In [-1, 1), from a small generator: timings do not depend on more. */
export function randomFloats(count: number, scale = 1): Float32Array {
  let state = 12345
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state / 2 ** 31) * scale
  })
}
