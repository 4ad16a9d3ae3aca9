// The tape: gradients add up where a tensor is used twice, slices meet in their parent, saved tensors live as long as
// they are needed, recomputed segments give the same bits, and nothing stays behind.
import test from 'ava'
import { recompute, Tape } from '../../lib/autograd/tape.js'
import { gatherRows } from '../../lib/ops/gather-rows.js'
import { linear } from '../../lib/ops/linear.js'
import { rmsNorm } from '../../lib/ops/rms-norm.js'
import { swiglu } from '../../lib/ops/swiglu.js'
import { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import { bits } from '../_helpers/policies.js'

const values = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i) + 0.1)

function parameter(device: Device, shape: readonly number[], seed: number) {
  const size = shape.reduce((product, n) => product * n, 1)
  return {
    value: device.keep(device.float32(values(size, seed), shape)),
    gradient: device.keep(device.zeros(shape)),
  }
}

/** A small network; `through` wraps its middle, which may be recomputed. */
function network(device: Device) {
  const weights = {
    norm: parameter(device, [6], 1),
    up: parameter(device, [8, 6], 2),
    down: parameter(device, [6, 4], 3),
  }
  const body = (tape: Tape | undefined, x: Tensor) => {
    const { out, sum } = rmsNorm(tape, x, undefined, weights.norm, 1e-6)
    const branch = linear(tape, swiglu(tape, linear(tape, out, weights.up)), weights.down)
    const second = rmsNorm(tape, branch, sum, weights.norm, 1e-6)
    return [linear(tape, swiglu(tape, linear(tape, second.out, weights.up)), weights.down), second.sum]
  }
  return { weights, body }
}

async function gradients(through: boolean): Promise<Uint32Array[]> {
  await using device = await Device.open('cpu', { threads: 2 })
  const { weights, body } = network(device)
  const x = device.keep(device.float32(values(30, 9), [5, 6]))
  const before = device.info().liveTensors
  const result = device.scope(() => {
    const tape = new Tape(device)
    tape.borrow(x)
    const [branch, stream] = through ? recompute(tape, [x], inner => body(inner, x)) : body(tape, x)
    const { out } = rmsNorm(tape, branch as Tensor, stream, weights.norm, 1e-6)
    tape.produce(out, target => device.write(target, values(30, 5)))
    tape.backward()
    const gradient = device.keep(tape.take(x) as Tensor)
    tape.dispose()
    return gradient
  })
  const all = [result, ...Object.values(weights).map(weight => weight.gradient)]
  const read = await Promise.all(all.map(tensor => device.readFloat32(tensor)))
  result.dispose()
  if (device.info().liveTensors !== before)
    throw new Error(`${device.info().liveTensors - before} tensors stayed`)
  return read.map(bits)
}

test('a recomputed segment gives the same bits, and neither leaves a tensor behind', async t => {
  const direct = await gradients(false)
  t.true(direct.every(part => part.some(word => word !== 0)))
  t.deepEqual(await gradients(true), direct)
})

test('gradients add up where a tensor is used twice; slices meet in their parent', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const tape = new Tape(device)
  const x = device.float32(values(6, 1), [3, 2])
  const rows = device.int32(Int32Array.of(0, 2, 0))
  const a = gatherRows(tape, x, rows)
  const b = gatherRows(tape, x, rows)
  tape.produce(a, target => device.write(target, Float32Array.of(1, 2, 3, 4, 5, 6)))
  tape.produce(b, target => device.write(target, Float32Array.of(10, 20, 30, 40, 50, 60)))
  tape.backward()
  t.deepEqual([...(await device.readFloat32(tape.gradient(x)))], [66, 88, 0, 0, 33, 44])

  const parent = device.zeros([2, 3])
  const left = tape.slice(parent, 0, 1)
  const right = tape.slice(parent, 1, 3)
  const ones = device.float32(new Float32Array(6).fill(1), [2, 3])
  const { ops, handle } = device
  tape.produce(right, target =>
    ops.addRows(handle, ones.slice(1, 3).handle, ones.slice(1, 3).handle, target.handle),
  )
  tape.produce(left, target =>
    ops.addRows(handle, ones.slice(0, 1).handle, parent.slice(0, 1).handle, target.handle),
  )
  t.deepEqual([...(await device.readFloat32(tape.gradient(parent)))], [1, 2, 2, 1, 2, 2])
  t.deepEqual([...(await device.readFloat32(tape.gradient(left)))], [1, 1])
  tape.dispose()
  t.throws(() => tape.gradient(x), { message: /no gradient reached/ })
})
