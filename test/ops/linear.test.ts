// linear: against float64 sums, gradients against differences, and the bits of packed weights and of single rows.
import test from 'ava'
import { type Parameter, Tape } from '../../lib/autograd/tape.js'
import { cast } from '../../lib/ops/cast.js'
import { embedding } from '../../lib/ops/embedding.js'
import { gatherRows } from '../../lib/ops/gather-rows.js'
import { linear, linearSwiglu, packWeight } from '../../lib/ops/linear.js'
import { rmsNorm } from '../../lib/ops/rms-norm.js'
import { swiglu } from '../../lib/ops/swiglu.js'
import { CounterRandom } from '../../lib/random.js'
import { bfloat16Tensor } from '../_cases/bfloat16.js'
import { type HostTensor, normal } from '../_cases/case.js'
import { bfloat16Cases, cases } from '../_cases/linear.js'
import { differs, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { isCuda, useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 2e-6, // 6.6e-7
  gradX: 2e-6, // 5.0e-7
  gradWeight: 1.5e-6, // 4.0e-7
  gradBias: 1e-6, // 3.1e-7
})

// Float32 sums of exact products.
testBfloat16(test, devices, bfloat16Cases, { gradWeight: 1e-6, gradBias: 1e-6 })

test('linearSwiglu has the bits of linear and swiglu', async t => {
  for (const { device, label, ...place } of devices.all) {
    for (const dtype of isCuda({ device, label, ...place })
      ? (['float32', 'bfloat16'] as const)
      : (['float32'] as const)) {
      // Rows and columns on both sides of every tile; k in one block and in several.
      for (const [rows, f, k] of [
        [1, 3, 8],
        [5, 40, 24],
        [16, 129, 40],
        [17, 72, 1040],
        [70, 100, 33],
        [130, 136, 64],
      ] as const) {
        const random = new CounterRandom(6, 'linear-swiglu', rows)
        const [x, weight] = [normal(random, [rows, k]), normal(random, [2 * f, k])]
        const { fused, apart } = device.scope(() => {
          const [a, w] = [x, weight].map(({ data, shape }) =>
            cast(device.float32(data as Float32Array, shape), dtype),
          )
          const parameter = { value: w!, gradient: device.zeros([2 * f, k]) }
          const packed = packWeight(w!)
          return {
            fused: cast(linearSwiglu(a!, parameter, packed), 'float32'),
            apart: cast(swiglu(undefined, linear(undefined, a!, parameter, undefined, packed)), 'float32'),
          }
        })
        const what = `${label}, ${dtype}, ${rows}x${f}x${k}`
        sameBits(t, what, await device.readFloat32(fused), await device.readFloat32(apart))
      }
    }
  }
})

test('gradients', async t => {
  const random = new CounterRandom(5, 'linear')
  await checkGradients(t, devices.best, {
    inputs: { x: normal(random, [3, 5]), weight: normal(random, [4, 5]), bias: normal(random, [4]) },
    forward: (tape, { x, weight, bias }) => [linear(tape, x!.value, weight!, bias)],
    tolerance: 8e-6,
  })
})

test('bfloat16 through the tape: dtypes are kept, gradients are near those in float32', async t => {
  const random = new CounterRandom(31, 'linear')
  const [vocabulary, c, f] = [11, 24, 40]
  const shapes = { table: [vocabulary, c], norm: [c], gateUp: [2 * f, c], bias: [2 * f], down: [c, f] }
  const values = Object.entries(shapes).map(
    ([name, shape]) => [name, bfloat16Tensor(normal(random, shape))] as const,
  )
  const seed = bfloat16Tensor(normal(random, [5, c]))
  for (const { device } of devices.all.filter(isCuda)) {
    const gradientsIn = async (dtype: 'float32' | 'bfloat16') => {
      const place = (tensor: HostTensor) => {
        const half = device.from(tensor.data as Uint16Array, 'bfloat16', tensor.shape)
        return dtype === 'bfloat16' ? half : cast(half, dtype)
      }
      const leaves = Object.fromEntries(
        values.map(([name, tensor]) => [
          name,
          { value: place(tensor), gradient: device.zeros(tensor.shape) },
        ]),
      )
      const { table, norm, gateUp, bias, down } = leaves as Record<string, Parameter>
      const tape = new Tape(device)
      const [tokens, rows] = [
        device.int32(Int32Array.of(3, 0, 9, 3, 1, 7, 7)),
        device.int32(Int32Array.of(1, 2, 6, 4, 0)),
      ]
      tape.borrow(tokens, rows)
      const stream = embedding(tape, tokens, table!)
      const { out: first } = rmsNorm(tape, stream, undefined, norm!, 1e-6)
      const inner = swiglu(tape, linear(tape, first, gateUp!, bias!))
      const out = gatherRows(tape, linear(tape, inner, down!, undefined, undefined, stream), rows)
      t.is(out.dtype, dtype)
      tape.accumulate(out, place(seed))
      tape.backward()
      tape.dispose()
      return Promise.all(Object.values(leaves).map(({ gradient }) => device.readFloat32(gradient)))
    }
    const [exact, half] = [await gradientsIn('float32'), await gradientsIn('bfloat16')]
    for (const [i, [name]] of values.entries()) {
      const size = Math.hypot(...exact[i]!)
      const error = Math.hypot(...exact[i]!.map((x, k) => x - half[i]![k]!)) / size
      t.true(size > 0.1, `no gradient reached ${name}`)
      // Five roundings in a row, of 2^-9 each: measured 1e-3 to 3e-3.
      t.true(error > 0 && error < 1e-2, `${name}: off by ${error} of its size`)
    }
  }
  t.pass()
})

test('the same bits with a packed weight, for one row or many, and with any number of columns beside', async t => {
  const random = new CounterRandom(6, 'linear')
  const [rows, n, k] = [37, 203, 1031]
  const x = normal(random, [rows, k]).data as Float32Array
  const w = normal(random, [n, k]).data as Float32Array
  const b = normal(random, [n]).data as Float32Array
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const parameter = (data: Float32Array, shape: number[]) => {
        const value = device.float32(data, shape)
        return { value, gradient: value }
      }
      const input = device.float32(x, [rows, k])
      const weight = parameter(w, [n, k])
      const bias = parameter(b, [n])
      const packed = packWeight(weight.value)
      return {
        plain: linear(undefined, input, weight, bias),
        packed: linear(undefined, input, weight, bias, packed),
        row: linear(undefined, input.rowRange(11, 12), weight, bias),
        packedRow: linear(undefined, input.rowRange(11, 12), weight, bias, packed),
        unbiased: linear(undefined, input, weight, undefined, packed),
      }
    })
    const plain = await device.readFloat32(results.plain)
    sameBits(t, `${label}: packed`, await device.readFloat32(results.packed), plain)
    const row = plain.slice(11 * n, 12 * n)
    sameBits(t, `${label}: one row`, await device.readFloat32(results.row), row)
    sameBits(t, `${label}: one row, packed`, await device.readFloat32(results.packedRow), row)
    t.true(differs(await device.readFloat32(results.unbiased), plain), 'the bias changes the result')
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const parameter = (shape: number[], dtype: 'float32' | 'int32' = 'float32') => {
    const value = device.zeros(shape, dtype)
    return { value, gradient: value }
  }
  const x = device.zeros([3, 4])
  const [weight, narrow, ofIntegers, bias] = [
    parameter([5, 4]),
    parameter([5, 3]),
    parameter([5, 4], 'int32'),
    parameter([4]),
  ]
  const vector = device.zeros([4])
  await refusesArguments(t, device, 'linear', [
    ['x', () => linear(undefined, x, narrow)],
    ['x', () => linear(undefined, vector, weight)],
    ['weight', () => linear(undefined, x, ofIntegers)],
    ['weight', () => packWeight(vector)],
    ['bias', () => linear(undefined, x, weight, bias)],
    ['packed', () => linear(undefined, x, weight, undefined, device.empty([7]))],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const handles = (
    device: Parameters<Parameters<typeof failsOnStream>[2][number][1]>[0],
    ...shapes: number[][]
  ) => shapes.map(shape => device.zeros(shape).handle)
  await failsOnStream(t, 'linear', [
    [
      /packed/,
      device => {
        const [x, weight, packed, out] = handles(device, [3, 4], [5, 4], [7], [3, 5])
        device.ops.linearForward(device.handle, x!, weight!, packed!, null, null, out!)
      },
      'words of its own', // devices pack in different sizes
    ],
    [
      /gradX/,
      device => {
        const [gradOut, weight, gradX] = handles(device, [3, 5], [5, 4], [3, 5])
        device.ops.linearBackwardInput(device.handle, gradOut!, weight!, gradX!, false)
      },
    ],
    [
      /expected gradOut/,
      device => {
        const [gradOut, x, gradWeight] = handles(device, [3, 5], [3, 4], [4, 5])
        device.ops.linearBackwardWeight(device.handle, gradOut!, x!, gradWeight!, null)
      },
    ],
  ])
})
