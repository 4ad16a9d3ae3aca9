// attention-decode and the key/value cache: against float64, and bit for bit what attention gives for the same token.
import test, { type ExecutionContext } from 'ava'
import { attention } from '../../lib/ops/attention.js'
import {
  appendToCache,
  attentionBlock,
  attentionDecode,
  copyCacheBlocks,
  createKeyValueCache,
} from '../../lib/ops/attention-decode.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import type { Tensor } from '../../lib/tensor/tensor.js'
import { bfloat16Cases, cases } from '../_cases/attention-decode.js'
import { bfloat16Bits } from '../_cases/bfloat16.js'
import { normal } from '../_cases/case.js'
import { sameBits } from '../_helpers/compare.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { isCuda, type OpDevice, useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 2.5e-6, // 6.3e-7
  keyCache: 0,
  valueCache: 0,
})

testBfloat16(test, devices, bfloat16Cases, { keyCache: 0, valueCache: 0 })

interface TokenSizes {
  h: number
  k: number
  d: number
  /** Of the sequence; and those of its tokens that are decoded. */
  n: number
  positions: readonly number[]
}

/** Each token has the bits of the forward pass: appended at once or one by one, alone or in a batch, copied or not. */
async function hasBitsOfForward(
  t: ExecutionContext,
  { device, label }: OpDevice,
  dtype: 'float32' | 'bfloat16',
  { h, k, d, n, positions }: TokenSizes,
): Promise<void> {
  const random = new CounterRandom(32, 'decode')
  const make = (columns: number) => {
    const { data } = normal(random, [n, columns])
    return dtype === 'float32' ? (data as Float32Array) : bfloat16Bits(data)
  }
  const put = (data: Float32Array | Uint16Array, columns: number) =>
    data instanceof Float32Array
      ? device.float32(data, [data.length / columns, columns])
      : device.from(data, 'bfloat16', [data.length / columns, columns])
  const read = (tensor: Tensor) =>
    dtype === 'float32' ? device.readFloat32(tensor) : device.readBits16(tensor)
  const [q, keys, values] = [make(h * d), make(k * d), make(k * d)]
  const rowsOf = <A extends Float32Array | Uint16Array>(data: A, rows: readonly number[]) => {
    const copy = data.slice(0, rows.length * h * d) as A
    for (const [i, p] of rows.entries()) copy.set(data.subarray(p * h * d, (p + 1) * h * d), i * h * d)
    return copy
  }

  // The sequence lies in some blocks as a prompt, and its copy in others token by token; the last of the prompt's blocks
  // is copied.
  const count = Math.ceil(n / attentionBlock)
  const promptBlocks = Array.from({ length: count }, (_, i) => 2 * count - 1 - i)
  const singleBlocks = promptBlocks.map(block => (block + count) % (2 * count))
  const copiedBlocks = [...promptBlocks.slice(0, -1), 2 * count]
  const results = device.scope(() => {
    const [tq, tk, tv] = [put(q, h * d), put(keys, k * d), put(values, k * d)]
    const sequences = device.int32(Int32Array.of(0, n, 0, 0), [1, 4])
    const whole = attention(undefined, { q: tq, k: tk, v: tv, sequences, scale: 0.2, heads: h })

    const cache = createKeyValueCache(device, 2 * count + 1, k, d, dtype)
    for (const tensor of [cache.keys, cache.values]) device.ops.fill(device.handle, tensor.handle, Number.NaN)
    const slots = (blocks: number[]) =>
      device.int32(
        Int32Array.from(
          { length: n },
          (_, p) => blocks[Math.floor(p / attentionBlock)]! * attentionBlock + (p % attentionBlock),
        ),
      )
    appendToCache(cache, tk, tv, slots(promptBlocks))
    const single = slots(singleBlocks)
    for (let p = 0; p < n; p++) {
      appendToCache(cache, tk.rowRange(p, p + 1), tv.rowRange(p, p + 1), single.rowRange(p, p + 1))
    }
    copyCacheBlocks(cache, device.int32(Int32Array.of(promptBlocks.at(-1)!, 2 * count), [1, 2]))
    const decode = (rows: readonly number[], blocks: number[]) => {
      const table = device.int32(Int32Array.from(rows.flatMap(() => blocks)), [rows.length, blocks.length])
      const lengths = device.int32(Int32Array.from(rows, p => p + 1))
      return attentionDecode(put(rowsOf(q, rows), h * d), cache, table, lengths, 0.2)
    }
    return {
      whole,
      prompt: decode(positions, promptBlocks),
      single: decode(positions, singleBlocks),
      copied: decode(positions, copiedBlocks),
      alone: positions.map(p => decode([p], promptBlocks)),
    }
  })
  const expected = rowsOf(await read(results.whole), positions)
  t.is(expected.length, positions.length * h * d)
  for (const name of ['prompt', 'single', 'copied'] as const) {
    sameBits(t, `${label}, ${dtype}: ${name}`, await read(results[name]), expected)
  }
  for (const [i, alone] of results.alone.entries()) {
    sameBits(
      t,
      `${label}, ${dtype}: alone at ${positions[i]}`,
      await read(alone),
      expected.slice(i * h * d, (i + 1) * h * d),
    )
  }
}

test('each token has the bits of the forward pass', async t => {
  for (const place of devices.all) {
    const positions = [0, 1, 62, 63, 64, 65, 127, 128, 132]
    await hasBitsOfForward(t, place, 'float32', { h: 6, k: 2, d: 24, n: 133, positions })
  }
})

test('in bfloat16 as well, over several segments of keys', async t => {
  const places = devices.all.filter(isCuda)
  for (const place of places) {
    const positions = [0, 1, 15, 16, 47, 48, 63, 64, 127, 128, 255, 256, 260]
    await hasBitsOfForward(t, place, 'bfloat16', { h: 6, k: 2, d: 24, n: 261, positions })
    const few = { n: 67, positions: [7, 31, 66] }
    await hasBitsOfForward(t, place, 'bfloat16', { h: 17, k: 1, d: 72, ...few })
    await hasBitsOfForward(t, place, 'bfloat16', { h: 2, k: 1, d: 130, ...few })
  }
  if (places.length === 0) t.pass('no device that computes in bfloat16')
})

test('an idle row is zeros, whatever its table says', async t => {
  for (const { device, label } of devices.all) {
    const out = device.scope(() => {
      const cache = createKeyValueCache(device, 1, 1, 8)
      for (const tensor of [cache.keys, cache.values])
        device.ops.fill(device.handle, tensor.handle, Number.NaN)
      const table = device.int32(Int32Array.of(0, 0), [2, 1])
      return attentionDecode(
        device.float32(new Float32Array(16).fill(1), [2, 8]),
        cache,
        table,
        device.zeros([2], 'int32'),
        1,
      )
    })
    t.deepEqual(await device.readFloat32(out), new Float32Array(16), label)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const cache = createKeyValueCache(device, 2, 1, 8)
  const [q, table, lengths] = [
    device.zeros([2, 8]),
    device.zeros([2, 1], 'int32'),
    device.zeros([2], 'int32'),
  ]
  const [vector, three] = [device.zeros([2]), device.zeros([3], 'int32')]
  await refusesArguments(t, device, 'attention-decode', [
    ['q', () => attentionDecode(vector, cache, table, lengths, 1)],
    ['q', () => attentionDecode(device.empty([2, 10]), cache, table, lengths, 1)],
    ['blockTable', () => attentionDecode(q, cache, lengths, lengths, 1)],
    ['blockTable', () => attentionDecode(q, cache, q, lengths, 1)],
    ['lengths', () => attentionDecode(q, cache, table, vector, 1)],
    ['lengths', () => attentionDecode(q, cache, table, three, 1)],
  ])
  await refusesArguments(t, device, 'kv-cache-append', [
    ['slots', () => appendToCache(cache, q, q, three)],
    ['slots', () => appendToCache(cache, q, q, vector)],
    ['k', () => appendToCache(cache, device.empty([2, 10]), device.empty([2, 10]), lengths)],
    ['v', () => appendToCache(cache, q, device.empty([2, 10]), lengths)],
  ])
  await refusesArguments(t, device, 'kv-cache-copy', [['pairs', () => copyCacheBlocks(cache, three)]])
})

test('the dtypes of q, of what is appended and of the cache are one', async t => {
  const device = devices.best
  const cache = createKeyValueCache(device, 2, 1, 8, 'bfloat16')
  t.deepEqual(cache.keys.shape, [2, 1, 64, 8])
  const [rows, halves] = [device.zeros([2, 8]), device.empty([2, 8], 'bfloat16')]
  const [table, lengths] = [device.zeros([2, 1], 'int32'), device.zeros([2], 'int32')]
  await refusesArguments(t, device, 'attention-decode', [
    ['q', () => attentionDecode(rows, cache, table, lengths, 1)],
  ])
  await refusesArguments(t, device, 'kv-cache-append', [
    ['k', () => appendToCache(cache, rows, rows, lengths)],
    ['v', () => appendToCache(cache, halves, rows, lengths)],
  ])
})

async function failsByContents(
  t: ExecutionContext,
  dtype: 'float32' | 'bfloat16',
  names?: readonly string[],
) {
  const cacheOf = (device: Device) => createKeyValueCache(device, 2, 1, 8, dtype)
  const decode = (block: number, length: number) => (device: Device) => {
    const cache = cacheOf(device)
    const table = device.int32(Int32Array.of(block), [1, 1])
    attentionDecode(device.zeros([1, 8], dtype), cache, table, device.int32(Int32Array.of(length)), 1)
  }
  const decodeMany = (table: number[], lengths: number[]) => (device: Device) => {
    const cache = cacheOf(device)
    const blocks = device.int32(Int32Array.from(table), [lengths.length, 2])
    const q = device.zeros([lengths.length, 8], dtype)
    attentionDecode(q, cache, blocks, device.int32(Int32Array.from(lengths)), 1)
  }
  const run = (op: string, failures: Parameters<typeof failsOnStream>[2]) =>
    failsOnStream(t, op, failures, names)
  await run('attention-decode', [
    [/sequence 1 has 129 keys, its blocks hold 128/, decodeMany([0, 1, 0, 0, 0, 0, 2, 0], [65, 129, -1, 1])],
    [/block 2 of sequence 1 is not/, decodeMany([0, 1, 1, 2, 0, -1, 9, 0], [65, 128, 64, 1])],
    [/\b65\b/, decode(0, 65)],
    [/-1/, decode(0, -1)],
    [/\b2\b/, decode(2, 1)],
    [/-3/, decode(-3, 1)],
  ])
  await run('kv-cache-append', [
    [
      /slot -2 of token 2 is not one of the cache's 128/,
      device => {
        const rows = device.zeros([5, 8], dtype)
        const slots = device.int32(Int32Array.of(127, -1, -2, 2 ** 31 - 1, -(2 ** 31)))
        appendToCache(cacheOf(device), rows, rows, slots)
      },
    ],
    [
      /slot 128 of token 0 is not one of the cache's 128/,
      device =>
        appendToCache(
          cacheOf(device),
          device.zeros([1, 8], dtype),
          device.zeros([1, 8], dtype),
          device.int32(Int32Array.of(128)),
        ),
    ],
  ])
  await run('kv-cache-copy', [
    [
      /block -1 is not one of the cache's 2/,
      device =>
        copyCacheBlocks(cacheOf(device), device.int32(Int32Array.of(0, 1, -1, 9, 9, 0, 2, 2), [4, 2])),
    ],
    [
      /block 2 is not one of the cache's 2/,
      device => copyCacheBlocks(cacheOf(device), device.int32(Int32Array.of(0, 2), [1, 2])),
    ],
    [
      /block 2 is not one of the cache's 2/,
      device => copyCacheBlocks(cacheOf(device), device.int32(Int32Array.of(2, 1), [1, 2])),
    ],
  ])
}

test('a failed check of the kernel fails the stream', t => failsByContents(t, 'float32'))

test('a failed check of the kernel in bfloat16 fails the stream', async t => {
  const names = testDeviceNames().filter(name => name !== 'cpu')
  if (names.length > 0) await failsByContents(t, 'bfloat16', names)
  else t.pass('no device that computes in bfloat16')
})
