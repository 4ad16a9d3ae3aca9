// embedding: rows of the table exactly, gradients added in order, tokens outside the table.
import test from 'ava'
import { embedding } from '../../lib/ops/embedding.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import { normal } from '../_cases/case.js'
import { backwardCase, bfloat16Cases, cases, forwardCase } from '../_cases/embedding.js'
import { testAlignment } from '../_helpers/alignment.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Copies, and float32 additions whose order the contract fixes: nothing to tolerate.
testCases(test, devices, cases, { out: 0, gradTable: 0 })

testBfloat16(test, devices, bfloat16Cases, { out: 0, gradTable: 0 })

testAlignment(test, devices, [
  forwardCase({ tokens: 67, vocabulary: 1009, c: 260 }),
  backwardCase({ tokens: 67, vocabulary: 5, c: 260 }),
])

test('gradients', async t => {
  const device = devices.best
  const tokens = device.int32(Int32Array.of(3, 0, 3, 1, 2))
  await checkGradients(t, device, {
    inputs: { table: normal(new CounterRandom(14, 'embedding'), [4, 3]) },
    forward(tape, { table }) {
      tape?.borrow(tokens)
      return [embedding(tape, tokens, table!)]
    },
    tolerance: 4e-6,
  })
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const parameter = (shape: number[]) => ({ value: device.zeros(shape), gradient: device.zeros(shape) })
  const [table, vector] = [parameter([4, 3]), parameter([4])]
  const [tokens, floats] = [device.zeros([2], 'int32'), device.zeros([2])]
  await refusesArguments(t, device, 'embedding', [
    ['tokens', () => embedding(undefined, floats, table)],
    ['tokens', () => embedding(undefined, device.empty([2, 1], 'int32'), table)],
    ['table', () => embedding(undefined, tokens, vector)],
  ])
})

test('of several tokens outside the table the first is named, forward and backward', async t => {
  const tokens = Int32Array.of(3, -1, 4, -0x80000000, 0x7fffffff)
  const forward = (device: Device) => {
    const table = { value: device.zeros([4, 5]), gradient: device.zeros([4, 5]) }
    embedding(undefined, device.int32(tokens), table)
  }
  const backward = (device: Device) => {
    const [gradOut, gradTable] = [device.zeros([5, 260]), device.zeros([4, 260])]
    device.ops.embeddingBackward(device.handle, device.int32(tokens).handle, gradOut.handle, gradTable.handle)
  }
  const message = /embedding: tokens\[1\] is -1, outside \[0, 4\)/
  await failsOnStream(t, 'embedding', [
    [message, forward],
    [message, backward],
  ])
})

test('what fails first is named, whatever fails later', async t => {
  await failsOnStream(t, 'embeddingForward', [
    [
      /tokens\[0\] is 9/,
      device => {
        const table = { value: device.zeros([4, 5]), gradient: device.zeros([4, 5]) }
        for (const token of [9, 7, -1]) embedding(undefined, device.int32(Int32Array.of(token)), table)
      },
    ],
  ])
})

test('a token outside the table fails the stream, forward and backward', async t => {
  for (const token of [-1, 4, 0x7fffffff, -0x80000000]) {
    await failsOnStream(t, 'embedding', [
      [
        new RegExp(`tokens\\[1\\] is ${token}, outside \\[0, 4\\)`),
        device => {
          const table = { value: device.zeros([4, 3]), gradient: device.zeros([4, 3]) }
          embedding(undefined, device.int32(Int32Array.of(0, token)), table)
        },
      ],
      [
        new RegExp(`tokens\\[1\\] is ${token}, outside \\[0, 4\\)`),
        device => {
          const tokens = device.int32(Int32Array.of(0, token))
          device.ops.embeddingBackward(
            device.handle,
            tokens.handle,
            device.zeros([2, 3]).handle,
            device.zeros([4, 3]).handle,
          )
        },
      ],
    ])
  }
})
