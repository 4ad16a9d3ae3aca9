// Wrong arguments: found before anything is enqueued (RangeError), or by the kernel's own checks (the stream fails).
import type { ExecutionContext } from 'ava'
import { DeviceError } from '../../lib/errors.js'
import { Device } from '../../lib/tensor/device.js'
import { testDeviceNames } from './emulator.js'

/** Each call throws a RangeError that names the op and the argument; nothing reaches the stream. */
export async function refusesArguments(
  t: ExecutionContext,
  device: Device,
  op: string,
  wrong: readonly (readonly [argument: string, call: () => unknown])[],
): Promise<void> {
  t.true(wrong.length > 0, 'nothing to check')
  for (const [argument, call] of wrong) {
    const before = device.info().enqueuedOps
    const error = t.throws(
      () => device.scope(() => void call()),
      { instanceOf: RangeError },
      `${op}: ${argument}`,
    )
    const message = error?.message ?? ''
    t.true(message.startsWith(`${op}: `), `${argument}: "${message}" does not begin with ${op}`)
    t.regex(message, new RegExp(`\\b${argument}\\b`), 'the argument is named')
    t.is(device.info().enqueuedOps, before, `${argument}: the call was enqueued`)
  }
  await device.synchronize()
}

/**
 * The op fails on its stream: this wait and every later one reject with a DeviceError that names the op and matches
 * `message`, and which says the same on every device (or has `words of its own`). Each failure is tried on a device of its own.
 */
export async function failsOnStream(
  t: ExecutionContext,
  op: string,
  failures: readonly (readonly [
    message: RegExp,
    enqueue: (device: Device) => unknown,
    own?: 'words of its own',
  ])[],
  names: readonly string[] = testDeviceNames(),
): Promise<void> {
  t.true(failures.length > 0, 'nothing to check')
  for (const [message, enqueue, own] of failures) {
    let first: string | undefined
    for (const name of names) {
      const device = await Device.open(name, name === 'cpu' ? { threads: 1 } : {})
      const later = device.float32(Float32Array.of(1))
      enqueue(device)
      const waits = [() => device.synchronize(), () => device.readFloat32(later), () => device.synchronize()]
      for (const wait of waits) {
        const error = await t.throwsAsync(wait, { instanceOf: DeviceError }, `${name}, ${op}: ${message}`)
        const said = error?.message ?? ''
        t.regex(said, message, name)
        t.true(said.includes(op), `${name}: "${said}" does not name ${op}`)
        first ??= said
        if (own === undefined) t.is(said, first, name)
      }
      await device.dispose()
      t.true(device.closed)
    }
  }
}
