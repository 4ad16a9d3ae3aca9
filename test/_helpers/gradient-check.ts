// Gradients through the tape against finite differences of the same kernels: every element of every input.
import type { ExecutionContext } from 'ava'
import { type Parameter, Tape } from '../../lib/autograd/tape.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import type { HostTensor, HostTensors } from '../_cases/case.js'
import { isClose } from './compare.js'

/** Values and, for those that ops treat as parameters, the gradient that ops add to. */
export type Leaves = Record<string, Parameter>

export interface GradientCheck {
  /** float32; every one must receive a gradient. */
  inputs: HostTensors
  /** The outputs whose weighted sum is the loss; must not keep tensors. */
  forward(tape: Tape | undefined, leaves: Leaves): Tensor[]
  /** Largest error as a share of the largest gradient of the input (measured with the default step: 1e-6 to 1e-5). */
  tolerance: number
  /** Of the finite differences: float32 rounding and the fifth derivative must both be small. */
  step?: number
}

function placeLeaves(device: Device, inputs: HostTensors): Leaves {
  const leaves: Leaves = {}
  for (const [name, { data, shape }] of Object.entries(inputs)) {
    leaves[name] = { value: device.float32(data as Float32Array, shape), gradient: device.zeros(shape) }
  }
  return leaves
}

async function readAll(device: Device, tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const results = await Promise.all(tensors.map(tensor => device.readFloat32(tensor)))
  for (const tensor of tensors) tensor.dispose()
  return results
}

/** By tape: seeds every output with random weights, walks back, reads what reached each leaf. */
async function tapeGradients(
  device: Device,
  check: GradientCheck,
): Promise<{ weights: Float32Array[]; gradients: Record<string, Float32Array> }> {
  const random = new CounterRandom(2, 'seeds')
  const tape = new Tape(device)
  const leaves = placeLeaves(device, check.inputs)
  tape.borrow(...Object.values(leaves).map(({ value }) => value))
  const outputs = check.forward(tape, leaves)
  const weights = outputs.map(output => Float32Array.from({ length: output.size }, () => random.normal()))
  outputs.forEach((output, i) => {
    tape.accumulate(output, device.float32(weights[i]!, output.shape))
  })
  tape.backward()
  const gradients: Record<string, Float32Array> = {}
  for (const [name, { value, gradient }] of Object.entries(leaves)) {
    gradients[name] = await device.readFloat32(tape.hasGradient(value) ? tape.gradient(value) : gradient)
  }
  tape.dispose()
  for (const { value, gradient } of Object.values(leaves)) {
    value.dispose()
    gradient.dispose()
  }
  return { weights, gradients }
}

/**
 * d loss / d element by differences of fourth order: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. `loss` is asked for
 * many data at once.
 */
export async function finiteDifferences(
  data: Float32Array,
  step: number,
  loss: (data: Float32Array) => Promise<number>,
): Promise<Float64Array> {
  const result = new Float64Array(data.length)
  const offsets = [-2, -1, 1, 2]
  const factors = [1 / 12, -8 / 12, 8 / 12, -1 / 12]
  await Promise.all(
    Array.from(data.keys(), async i => {
      const losses = await Promise.all(
        offsets.map(offset => {
          const moved = Float32Array.from(data)
          moved[i] = moved[i]! + offset * step
          return loss(moved)
        }),
      )
      result[i] = losses.reduce((sum, value, k) => sum + (factors[k]! * value) / step, 0)
    }),
  )
  return result
}

async function weightedSum(
  device: Device,
  check: GradientCheck,
  inputs: HostTensors,
  weights: readonly Float32Array[],
): Promise<number> {
  const outputs = device.keep(device.scope(() => check.forward(undefined, placeLeaves(device, inputs))))
  const values = await readAll(device, outputs)
  return values.reduce(
    (sum, value, o) => sum + value.reduce((part, x, e) => part + x * weights[o]![e]!, 0),
    0,
  )
}

/** Fails unless the tape's gradients are those of finite differences. */
export async function checkGradients(
  t: ExecutionContext,
  device: Device,
  check: GradientCheck,
): Promise<void> {
  const { weights, gradients } = await tapeGradients(device, check)
  t.true(weights.length > 0 && Object.keys(gradients).length > 0, 'nothing to check')
  for (const [name, gradient] of Object.entries(gradients)) {
    t.true(
      gradient.some(x => x !== 0),
      `no gradient reached ${name}`,
    )
    const input = check.inputs[name] as HostTensor
    const expected = await finiteDifferences(input.data as Float32Array, check.step ?? 0.03, data =>
      weightedSum(device, check, { ...check.inputs, [name]: { ...input, data } }, weights),
    )
    isClose(t, `gradient of ${name}`, gradient, expected, check.tolerance)
  }
}
