// Devices, tensors and scopes.
import test from 'ava'
import { ConfigError, Device, DeviceError } from '../../lib/index.js'
import { checkTensor, sizeOf } from '../../lib/tensor/tensor.js'

const open = () => Device.open('cpu', { threads: 1 })

test('devices that are not there, and options that are not known', async t => {
  await t.throwsAsync(Device.open('gpu'), { instanceOf: ConfigError, message: /"gpu"; did you mean "cuda"/ })
  await t.throwsAsync(Device.open('cpu:1'), { instanceOf: ConfigError })
  await t.throwsAsync(Device.open(3 as unknown as string), { instanceOf: ConfigError })
  await t.throwsAsync(Device.open('cuda:9'), { instanceOf: DeviceError, message: /cuda:9.*cpu/ })
  await t.throwsAsync(Device.open('cpu', { thread: 2 } as object), {
    instanceOf: ConfigError,
    message: /threads/,
  })
  for (const threads of [0, 257, 1.5, Number.NaN]) {
    await t.throwsAsync(Device.open('cpu', { threads }), { instanceOf: RangeError, message: /threads/ })
  }
  await t.throwsAsync(Device.open('cpu', { isa: 'mmx' as 'avx2' }), { message: /mmx/ })
  await using device = await Device.open()
  t.like(device.info(), { backend: 'cpu', liveBytes: 0, liveTensors: 0 })
})

test('what is written is read, in every type and shape', async t => {
  await using device = await open()
  t.deepEqual([...(await device.readFloat32(device.float32(Float32Array.of(1.5, -2))))], [1.5, -2])
  t.deepEqual([...(await device.readInt32(device.int32(Int32Array.of(1, -2))))], [1, -2])
  t.deepEqual([...(await device.readFloat64(device.from(Float64Array.of(Math.PI), 'float64')))], [Math.PI])
  t.deepEqual([...(await device.readBits16(device.from(Uint16Array.of(7), 'bfloat16')))], [7])
  t.deepEqual([...(await device.readFloat32(device.zeros([2, 0, 3])))], [])
  t.deepEqual([...(await device.readFloat32(device.zeros([])))], [0])
  await t.throwsAsync(device.readInt32(device.zeros([1])), {
    instanceOf: TypeError,
    message: /int32.*float32/,
  })
  t.is(sizeOf([2, 3, 4]), 24)
})

test('views share memory and stay inside it', async t => {
  await using device = await open()
  const whole = device.float32(
    Float32Array.from({ length: 12 }, (_, i) => i),
    [3, 4],
  )
  const columns = whole.slice(1, 3)
  t.false(columns.contiguous)
  t.deepEqual([...(await device.readFloat32(columns))], [1, 2, 5, 6, 9, 10])
  const rows = whole.rowRange(1, 3)
  t.deepEqual([...(await device.readFloat32(rows.reshape([8])))], [4, 5, 6, 7, 8, 9, 10, 11])
  t.deepEqual([...(await device.readFloat32(columns.rowRange(2, 3)))], [9, 10])
  t.deepEqual([...(await device.readRange(whole.reshape([12]), 5, 2))], [5, 6])
  t.throws(() => columns.reshape([6]), { instanceOf: RangeError, message: /\[3,2\].*\[6\]/ })
  t.throws(() => whole.slice(3, 5), { instanceOf: RangeError })
  t.throws(() => whole.rowRange(2, 4), { instanceOf: RangeError })
  t.throws(() => whole.rowRange(-1, 1), { instanceOf: RangeError })
  t.throws(() => device.write(columns, new Float32Array(6)), {
    instanceOf: RangeError,
    message: /contiguous/,
  })
  whole.dispose() // the views keep the memory
  t.deepEqual([...(await device.readFloat32(rows))], [4, 5, 6, 7, 8, 9, 10, 11])
  for (const view of [columns, rows]) view.dispose()
})

test('a scope frees what is made in it, except what it returns', async t => {
  await using device = await open()
  const outer = device.scope(() => {
    const kept = device.scope(() => {
      device.zeros([100])
      return { a: device.zeros([1]), list: [device.zeros([2])] }
    })
    t.is(device.info().liveTensors, 2)
    const forever = device.keep(device.zeros([3]))
    return { kept: kept.a, forever }
  })
  t.is(device.info().liveTensors, 2)
  t.throws(
    () =>
      device.scope(() => {
        device.zeros([5])
        throw new Error('mine')
      }),
    { message: 'mine' },
  )
  t.throws(() => device.scope(() => Promise.resolve()), { instanceOf: TypeError, message: /asynchronous/ })
  t.is(device.info().liveTensors, 2)
  outer.kept.dispose()
  outer.kept.dispose()
  outer.forever.dispose()
  t.is(device.info().liveTensors, 0)
  t.is(device.info().liveBytes, 0)
})

test('memory is counted per device, reused, and given back', async t => {
  await using device = await open()
  await using other = await open()
  const big = device.empty([1 << 20])
  t.true(device.info().liveBytes >= 4 << 20)
  t.is(other.info().liveBytes, 0)
  t.is(other.info().liveTensors, 0)
  big.dispose()
  t.is(device.info().liveBytes, 0)
  t.true(device.info().peakBytes >= 4 << 20)
  t.true(device.info().cachedBytes >= 4 << 20)
  device.resetPeak()
  device.trim()
  t.is(device.info().cachedBytes, 0)
  t.is(device.info().peakBytes, 0)
  t.throws(() => device.checkMemory(2 ** 60, 'the policy'), {
    code: 'OUT_OF_MEMORY',
    message: /the policy needs .* GiB, free/,
  })
})

test('checkTensor names the argument, what was expected and what came', async t => {
  await using device = await open()
  const x = device.zeros([2, 3])
  t.notThrows(() => checkTensor('op', 'x', x, 'float32', [-1, 3]))
  const wrong = {
    instanceOf: RangeError,
    message: 'op: expected x to be [any, 4] float32, got [2, 3] float32',
  }
  t.throws(() => checkTensor('op', 'x', x, 'float32', [-1, 4]), wrong)
  t.throws(() => checkTensor('op', 'x', x, 'int32', [2, 3]), { instanceOf: RangeError })
  t.throws(() => checkTensor('op', 'x', x, 'float32', [6]), { instanceOf: RangeError })
})
