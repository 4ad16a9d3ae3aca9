// cast and fill: every number of the 16-bit formats, and float32 numbers chosen for their rounding.
import test from 'ava'
import { cast } from '../../lib/ops/cast.js'
import { CounterRandom } from '../../lib/random.js'
import { bfloat16FillCases, cases, decode, fillCases, round, values } from '../_cases/cast.js'
import { exportCases } from '../_helpers/case-export.js'
import { sameBits } from '../_helpers/compare.js'
import { failsOnStream } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { exportFolder, exporting, runCase, smallCases, testCases, testPlaces } from '../_helpers/run-cases.js'

const devices = useDevices(test)

testCases(test, devices, fillCases, { out: 0 })

testBfloat16(test, devices, bfloat16FillCases, { out: 0 })

if (exportFolder !== undefined) {
  exporting(test, devices, cases, '-pairs', (device, path, stem) =>
    exportCases(
      path,
      stem,
      device,
      cases,
      i => new CounterRandom(1, 'cast', i),
      () => ({ kind: 'relative', limit: 0 }),
    ),
  )
}

testPlaces(test, devices, smallCases(cases))

// Rounding is exact: the numbers that the bits stand for are compared, NaN with NaN, and -0 is not 0.
for (const [i, oneCase] of cases.entries()) {
  test(oneCase.name, async t => {
    const inputs = oneCase.make(new CounterRandom(1, 'cast', i))
    const expected = oneCase.reference(inputs).out!
    const dtype = oneCase.outputs.out?.dtype ?? 'float32'
    let first: Awaited<ReturnType<typeof runCase>> | undefined
    for (const { device, label } of devices.all) {
      const results = await runCase(device, oneCase, inputs)
      const got = values(results.out!, dtype)
      const wrong = got.findIndex((x, k) => !Object.is(x, expected[k]))
      t.is(
        wrong,
        -1,
        `${label}: out[${wrong}] is ${got[wrong]}, expected ${expected[wrong]} from ${inputs.input?.data[wrong]}`,
      )
      first ??= results
      sameBits(t, `${label}, not as on the first device`, results.out!, first.out!)
    }
  })
}

test('the reference itself: numbers known by their bits', t => {
  t.is(decode(0x3c00, 'float16'), 1)
  t.is(decode(0x7bff, 'float16'), 65_504)
  t.is(decode(0x0001, 'float16'), 2 ** -24)
  t.is(decode(0xff80, 'bfloat16'), Number.NEGATIVE_INFINITY)
  t.is(decode(0x4049, 'bfloat16'), 3.140625)
  t.is(round(65_519, 'float16'), 65_504)
  t.is(round(65_520, 'float16'), Number.POSITIVE_INFINITY)
  t.is(round(2049, 'float16'), 2048)
  t.is(round(2051, 'float16'), 2052)
  t.is(round(257, 'bfloat16'), 256)
  t.true(Object.is(round(-1e-30, 'float16'), -0))
})

test('the same dtype is copied bit for bit, whatever it is', async t => {
  for (const { device, label } of devices.all) {
    const integers = Int32Array.from({ length: 131 }, (_, i) => i * 16_777_259)
    const out = device.scope(() => cast(device.int32(integers), 'int32'))
    t.deepEqual(await device.readInt32(out), integers, label)
  }
})

test('a failed check of the kernel fails the stream', async t => {
  await failsOnStream(t, 'cast', [
    [
      /in has 3 elements, out has 4/,
      device => device.ops.cast(device.handle, device.zeros([3]).handle, device.zeros([4]).handle),
    ],
    [/int32/, device => cast(device.zeros([3], 'int32'), 'float32')],
    [/contiguous/, device => cast(device.zeros([3, 3]).slice(0, 2), 'float16')],
  ])
  await failsOnStream(t, 'fill', [
    [
      /uint8/,
      device => device.ops.fill(device.handle, device.empty([3], 'uint8').handle, 1),
      'words of its own', // devices know different number formats
    ],
    [/\b0\.5\b/, device => device.ops.fill(device.handle, device.empty([3], 'int32').handle, 0.5)],
  ])
})
