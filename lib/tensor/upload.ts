// A float32 vector of the device, filled part by part: what waits for the device's thread is bounded, so that a large
// vector never stands in memory a second time on its way there.
import type { Tensor } from './tensor.js'

/** Bytes that may be on their way: copies made by `write` and not yet taken by the device. */
const mostInFlight = 16 * 1024 * 1024

export class Upload {
  readonly #target: Tensor
  #inFlight = 0

  /** `target`: a float32 vector. */
  constructor(target: Tensor) {
    this.#target = target
  }

  /** Copies `values` to the elements from `start` on; waits where too much is on its way. */
  async write(start: number, values: Float32Array): Promise<void> {
    const { device } = this.#target
    const part = device.keep(this.#target.rowRange(start, start + values.length))
    device.write(part, values)
    part.dispose()
    this.#inFlight += values.byteLength
    if (this.#inFlight < mostInFlight) return
    this.#inFlight = 0
    await device.synchronize()
  }
}
