// attention-decode and the key/value cache: against float64, and bit for bit what attention gives for the same token.
import test from 'ava'
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
import { bfloat16Cases, cases } from '../_cases/attention-decode.js'
import { normal } from '../_cases/case.js'
import { sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
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

test('each token has the bits of the forward pass: appended at once or one by one, alone or in a batch, copied or not', async t => {
  const [h, k, d, n] = [6, 2, 24, 133]
  const random = new CounterRandom(32, 'decode')
  const [q, keys, values] = [
    [n, h * d],
    [n, k * d],
    [n, k * d],
  ].map(shape => normal(random, shape).data as Float32Array) as [Float32Array, Float32Array, Float32Array]
  const positions = [0, 1, 62, 63, 64, 65, 127, 128, 132]
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const [tq, tk, tv] = [
        device.float32(q, [n, h * d]),
        device.float32(keys, [n, k * d]),
        device.float32(values, [n, k * d]),
      ]
      const sequences = device.int32(Int32Array.of(0, n, 0, 0), [1, 4])
      const whole = attention(undefined, { q: tq, k: tk, v: tv, sequences, scale: 0.2, heads: h })

      // The sequence lies in blocks 4, 1, 3 as a prompt, and its copy in blocks 0, 5, 2 token by token.
      const cache = createKeyValueCache(device, 7, k, d)
      for (const tensor of [cache.keys, cache.values])
        device.ops.fill(device.handle, tensor.handle, Number.NaN)
      const slots = (blocks: number[]) =>
        device.int32(
          Int32Array.from(
            { length: n },
            (_, p) => blocks[Math.floor(p / attentionBlock)]! * attentionBlock + (p % attentionBlock),
          ),
        )
      appendToCache(cache, tk, tv, slots([4, 1, 3]))
      const single = slots([0, 5, 2])
      for (let p = 0; p < n; p++) {
        appendToCache(cache, tk.rowRange(p, p + 1), tv.rowRange(p, p + 1), single.rowRange(p, p + 1))
      }
      copyCacheBlocks(cache, device.int32(Int32Array.of(1, 6), [1, 2]))
      const decode = (rows: number[], blocks: number[]) => {
        const data = new Float32Array(rows.length * h * d)
        for (const [i, p] of rows.entries()) data.set(q.subarray(p * h * d, (p + 1) * h * d), i * h * d)
        const table = device.int32(Int32Array.from(rows.flatMap(() => blocks)), [rows.length, blocks.length])
        const lengths = device.int32(Int32Array.from(rows, p => p + 1))
        return attentionDecode(device.float32(data, [rows.length, h * d]), cache, table, lengths, 0.2)
      }
      return {
        whole,
        prompt: decode(positions, [4, 1, 3]),
        single: decode(positions, [0, 5, 2]),
        copied: decode(positions, [4, 6, 3]),
        alone: positions.map(p => decode([p], [4, 1, 3])),
      }
    })
    const whole = await device.readFloat32(results.whole)
    const expected = new Float32Array(positions.length * h * d)
    for (const [i, p] of positions.entries())
      expected.set(whole.subarray(p * h * d, (p + 1) * h * d), i * h * d)
    for (const name of ['prompt', 'single', 'copied'] as const) {
      sameBits(t, `${label}: ${name}`, await device.readFloat32(results[name]), expected)
    }
    for (const [i, alone] of results.alone.entries()) {
      sameBits(
        t,
        `${label}: alone at ${positions[i]}`,
        await device.readFloat32(alone),
        expected.slice(i * h * d, (i + 1) * h * d),
      )
    }
  }
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

test('a failed check of the kernel fails the stream', async t => {
  const decode = (block: number, length: number) => (device: Device) => {
    const cache = createKeyValueCache(device, 2, 1, 8)
    const table = device.int32(Int32Array.of(block), [1, 1])
    attentionDecode(device.zeros([1, 8]), cache, table, device.int32(Int32Array.of(length)), 1)
  }
  const decodeMany = (table: number[], lengths: number[]) => (device: Device) => {
    const cache = createKeyValueCache(device, 2, 1, 8)
    const blocks = device.int32(Int32Array.from(table), [lengths.length, 2])
    const q = device.zeros([lengths.length, 8])
    attentionDecode(q, cache, blocks, device.int32(Int32Array.from(lengths)), 1)
  }
  await failsOnStream(t, 'attention-decode', [
    [/sequence 1 has 129 keys, its blocks hold 128/, decodeMany([0, 1, 0, 0, 0, 0, 2, 0], [65, 129, -1, 1])],
    [/block 2 of sequence 1 is not/, decodeMany([0, 1, 1, 2, 0, -1, 9, 0], [65, 128, 64, 1])],
    [/\b65\b/, decode(0, 65)],
    [/-1/, decode(0, -1)],
    [/\b2\b/, decode(2, 1)],
    [/-3/, decode(-3, 1)],
  ])
  await failsOnStream(t, 'kv-cache-append', [
    [
      /slot -2 of token 2 is not one of the cache's 128/,
      device => {
        const rows = device.zeros([5, 8])
        const slots = device.int32(Int32Array.of(127, -1, -2, 2 ** 31 - 1, -(2 ** 31)))
        appendToCache(createKeyValueCache(device, 2, 1, 8), rows, rows, slots)
      },
    ],
    [
      /slot 128 of token 0 is not one of the cache's 128/,
      device =>
        appendToCache(
          createKeyValueCache(device, 2, 1, 8),
          device.zeros([1, 8]),
          device.zeros([1, 8]),
          device.int32(Int32Array.of(128)),
        ),
    ],
  ])
  await failsOnStream(t, 'kv-cache-copy', [
    [
      /block -1 is not one of the cache's 2/,
      device =>
        copyCacheBlocks(
          createKeyValueCache(device, 2, 1, 8),
          device.int32(Int32Array.of(0, 1, -1, 9, 9, 0, 2, 2), [4, 2]),
        ),
    ],
    [
      /block 2 is not one of the cache's 2/,
      device =>
        copyCacheBlocks(createKeyValueCache(device, 2, 1, 8), device.int32(Int32Array.of(0, 2), [1, 2])),
    ],
  ])
})
