// gather-rows: rows exactly, gradients added in order, rows that are not there.
import test from 'ava'
import { gatherRows } from '../../lib/ops/gather-rows.js'
import { CounterRandom } from '../../lib/random.js'
import { normal } from '../_cases/case.js'
import { backwardCase, bfloat16Cases, cases, forwardCase } from '../_cases/gather-rows.js'
import { testAlignment } from '../_helpers/alignment.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Copies, and float32 additions whose order the contract fixes: nothing to tolerate.
testCases(test, devices, cases, { out: 0, gradX: 0 })

// Copies; sums are rounded once.
testBfloat16(test, devices, bfloat16Cases, { out: 0 })

testAlignment(test, devices, [
  forwardCase({ rows: 41, picked: 67, c: 132 }),
  backwardCase({ rows: 41, picked: 67, c: 132 }),
])

test('more elements than a grid has threads', async t => {
  const n = 530_003
  const rows = Int32Array.from({ length: n }, (_, i) => (i * 7919) % 1009)
  const x = Int32Array.from({ length: 1009 }, (_, i) => i * i)
  for (const { device, label } of devices.all) {
    const out = device.scope(() => gatherRows(undefined, device.int32(x, [1009, 1]), device.int32(rows)))
    const got = await device.readInt32(out)
    t.is(
      got.findIndex((value, i) => value !== rows[i]! ** 2),
      -1,
      label,
    )
  }
})

test('gradients: a row picked twice receives both, one never picked receives 0', async t => {
  const device = devices.best
  const rows = device.int32(Int32Array.of(2, 0, 2))
  await checkGradients(t, device, {
    inputs: { x: normal(new CounterRandom(15, 'gather-rows'), [4, 3]) },
    forward(tape, { x }) {
      tape?.borrow(rows)
      return [gatherRows(tape, x!.value, rows)]
    },
    tolerance: 4e-6,
  })
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [x, vector, rows, floats] = [
    device.zeros([4, 3]),
    device.zeros([4]),
    device.zeros([2], 'int32'),
    device.zeros([2]),
  ]
  await refusesArguments(t, device, 'gather-rows', [
    ['rows', () => gatherRows(undefined, x, floats)],
    ['x', () => gatherRows(undefined, vector, rows)],
    ['x', () => gatherRows(undefined, device.empty([4, 3], 'float16'), rows)],
  ])
})

test('a row that is not there fails the stream, forward and backward', async t => {
  await failsOnStream(t, 'gather-rows', [
    [
      /rows\[0\] is 4, outside \[0, 4\)/,
      device => gatherRows(undefined, device.zeros([4, 3]), device.int32(Int32Array.of(4))),
    ],
    [
      /rows\[1\] is -2147483648/,
      device =>
        gatherRows(
          undefined,
          device.zeros([4, 3], 'int32'),
          device.int32(Int32Array.of(2, -0x80000000, 4, 0x7fffffff)),
        ),
    ],
    [
      /rows\[1\] is -1/,
      device => gatherRows(undefined, device.zeros([4, 3]), device.int32(Int32Array.of(3, -1))),
    ],
    [
      /rows\[0\] is 7/,
      device => {
        const rows = device.int32(Int32Array.of(7))
        device.ops.gatherRowsBackward(
          device.handle,
          device.zeros([1, 3]).handle,
          rows.handle,
          device.zeros([4, 3]).handle,
        )
      },
    ],
  ])
})
