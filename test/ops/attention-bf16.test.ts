// attention in bfloat16, which the CUDA backend computes: against float64, and the bits that do not depend on packing or
// on sharing.
import test from 'ava'
import { DeviceError } from '../../lib/errors.js'
import { attention } from '../../lib/ops/attention.js'
import { CounterRandom } from '../../lib/random.js'
import { Device } from '../../lib/tensor/device.js'
import { forwardCase, packed, type Sequence } from '../_cases/attention.js'
import { backwardCases, bfloat16BackwardCase, bfloat16Cases, halfCase } from '../_cases/attention-bf16.js'
import { bfloat16Tensor } from '../_cases/bfloat16.js'
import type { HostTensors } from '../_cases/case.js'
import { values } from '../_cases/cast.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { failsOnStream } from '../_helpers/failures.js'
import { isCuda, useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { type Results, runCase } from '../_helpers/run-cases.js'
import { picked, range, rowsOf } from './_rows.js'

const devices = useDevices(test)

testBfloat16(test, devices, bfloat16Cases, { lse: 4.5e-7 }) // 1.1e-7
testBfloat16(test, devices, backwardCases)

/** Arguments of a forward case in bfloat16. */
const inHalves = ({ sequences, ...others }: HostTensors): HostTensors => ({
  sequences: sequences!,
  ...Object.fromEntries(Object.entries(others).map(([name, tensor]) => [name, bfloat16Tensor(tensor)])),
})

test('bfloat16: a sequence alone has the bits it has among others, backward and in every run', async t => {
  const layout = packed(40, 131, 1, 70)
  const alone = packed(131)
  const sizes = { h: 4, k: 2, d: 24 }
  const names = ['q', 'k', 'v', 'gradOut', 'out', 'lse']
  const all = bfloat16BackwardCase('all', { ...sizes, ...layout })
  const one = bfloat16BackwardCase('one', { ...sizes, ...alone })
  const inputs = all.make(new CounterRandom(32, 'packing'))
  for (const { device, label } of devices.all.filter(isCuda)) {
    const among = await runCase(device, all, inputs)
    const again = await runCase(device, all, inputs)
    const separate = await runCase(device, one, picked(inputs, names, range(40, 171), alone.sequences))
    for (const [name, width] of [
      ['gradQ', 96],
      ['gradK', 48],
      ['gradV', 48],
    ] as const) {
      sameBits(t, `${label}: ${name}`, rowsOf(among, name, 40, 171, width), separate[name]!)
      sameBits(t, `${label}: ${name}, a second time`, again[name]!, among[name]!)
    }
  }
  t.pass()
})

test('bfloat16: an answer has the same bits whichever answers share its prompt', async t => {
  const [prompt, first, second] = [67, 33, 80]
  const tokens = prompt + first + second
  const sizes = { h: 3, k: 1, d: 40 }
  const shared: Sequence[] = [
    [0, prompt, 0, 0],
    [prompt, first, 0, prompt],
    [prompt + first, second, 0, prompt],
  ]
  const repeated = packed(prompt + first, prompt + second)
  const both = bfloat16BackwardCase('both', { ...sizes, tokens, sequences: shared })
  const single = bfloat16BackwardCase('one', {
    ...sizes,
    tokens: prompt + first,
    sequences: shared.slice(0, 2),
  })
  const twice = bfloat16BackwardCase('repeated', { ...sizes, ...repeated })
  const inputs = both.make(new CounterRandom(33, 'sharing'))
  inputs.gradOut!.data.fill(0, 0, prompt * 120)
  const names = ['q', 'k', 'v', 'gradOut', 'out', 'lse']
  const head = range(0, prompt + first)
  const rows = [...head, ...range(0, prompt), ...range(prompt + first, tokens)]
  for (const { device, label } of devices.all.filter(isCuda)) {
    const a = await runCase(device, both, inputs)
    const b = await runCase(device, single, picked(inputs, names, head, shared.slice(0, 2)))
    const c = await runCase(device, twice, picked(inputs, names, rows, repeated.sequences))
    for (const [name, width] of [
      ['gradQ', 120],
      ['gradK', 40],
      ['gradV', 40],
    ] as const) {
      const answer = rowsOf(a, name, prompt, prompt + first, width)
      sameBits(t, `${label}: ${name} of the first`, answer, rowsOf(b, name, prompt, prompt + first, width))
    }
    // Queries meet keys in the same blocks where the prompt is repeated.
    const end = 2 * prompt + first + second
    sameBits(
      t,
      label,
      rowsOf(a, 'gradQ', prompt + first, tokens, 120),
      rowsOf(c, 'gradQ', end - second, end, 120),
    )
    // The prompt's gradients: one rounding of the sum, instead of the sum of two that were rounded.
    for (const name of ['gradK', 'gradV'] as const) {
      const [one, other, sum] = [
        [c, 0],
        [c, prompt + first],
        [a, 0],
      ].map(([results, from]) =>
        values(rowsOf(results as Results, name, from as number, (from as number) + prompt, 40), 'bfloat16'),
      ) as [Float64Array, Float64Array, Float64Array]
      isClose(
        t,
        `${label}: ${name} of the prompt`,
        sum,
        Float64Array.from(one, (x, i) => x + other[i]!),
        2 ** -7,
      )
    }
  }
  t.pass()
})

test('bfloat16: a sequence that breaks the contract is reported', async t => {
  const sizes = { h: 2, k: 1, d: 16, ...packed(20, 70) }
  const inputs = bfloat16BackwardCase('right', sizes).make(new CounterRandom(34, 'wrong'))
  const wrong: (readonly [RegExp, Sequence])[] = [
    [/sequence 1 has rows \[2147483647, \+2147483647\) of 90/, [0x7fffffff, 0x7fffffff, 0, 0]],
    [/sequence 1 has rows \[-5, \+70\) of 90/, [-5, 70, 0, 0]],
    [/sequences 0 and 1 both own row 10/, [10, 70, 0, 0]],
    [/sequence 1 has prefix rows \[-1, \+70\)/, [20, 70, -1, 70]],
    [/the prefix \[10, \+11\) of sequence 1 must lie/, [20, 70, 10, 11]],
  ]
  for (const name of testDeviceNames().filter(name => name !== 'cpu')) {
    for (const [message, sequence] of wrong) {
      const device = await Device.open(name, {})
      const one = bfloat16BackwardCase('wrong', { ...sizes, sequences: [sizes.sequences[0]!, sequence] })
      const table = { ...inputs.sequences!, data: Int32Array.from([...sizes.sequences[0]!, ...sequence]) }
      const error = await t.throwsAsync(runCase(device, one, { ...inputs, sequences: table }), {
        code: 'STREAM_FAILED',
      })
      t.regex(error?.message ?? '', message)
      await device.dispose()
    }
  }
  t.pass()
})

test('bfloat16: what is not of the dtype of q is refused', async t => {
  for (const name of testDeviceNames().filter(name => name !== 'cpu')) {
    for (const wrong of ['gradOut', 'k', 'v', 'out', 'lse', 'gradQ', 'gradK', 'gradV']) {
      const device = await Device.open(name, {})
      const make = (argument: string, width: number) => {
        const isFloat32 = (argument === 'lse') !== (argument === wrong)
        return device.zeros([9, width], isFloat32 ? 'float32' : 'bfloat16').handle
      }
      device.ops.attentionBackward(
        device.handle,
        make('gradOut', 16),
        make('q', 16),
        make('k', 8),
        make('v', 8),
        make('out', 16),
        make('lse', 2),
        device.int32(Int32Array.of(0, 9, 0, 0), [1, 4]).handle,
        1,
        make('gradQ', 16),
        make('gradK', 8),
        make('gradV', 8),
      )
      const error = await t.throwsAsync(device.synchronize(), { instanceOf: DeviceError }, wrong)
      t.regex(error?.message ?? '', new RegExp(`expected ${wrong} of`))
      await device.dispose()
    }
  }
  t.pass()
})

test('in bfloat16 a query has the bits of its keys alone: behind a shared prefix or a repeated one, alone or not', async t => {
  // Prompts and answers that share 16 keys, a tile or a segment with another in one layout and not in the other.
  for (const { sizes, lengths } of [
    { sizes: { h: 4, k: 2, d: 24 }, lengths: [67, 33, 80] },
    { sizes: { h: 1, k: 1, d: 72 }, lengths: [249, 9, 20] },
  ] as const) {
    const [prompt, first, second] = lengths
    const tokens = prompt + first + second
    const shared: Sequence[] = [
      [0, prompt, 0, 0],
      [prompt, first, 0, prompt],
      [prompt + first, second, 0, prompt],
    ]
    const repeated = packed(prompt + first, prompt + second)
    const alone = packed(prompt + second)
    const inputs = forwardCase('all', { ...sizes, tokens, sequences: shared }).make(
      new CounterRandom(33, 'half'),
    )
    const lastRows = [...range(0, prompt), ...range(prompt + first, tokens)]
    for (const { device, label } of devices.all.filter(isCuda)) {
      const run = (layout: { tokens: number; sequences: Sequence[] }, rows: number[]) =>
        runCase(
          device,
          halfCase('bits', { ...sizes, ...layout }),
          inHalves(picked(inputs, ['q', 'k', 'v'], rows, layout.sequences)),
        )
      const a = await run({ tokens, sequences: shared }, range(0, tokens))
      const b = await run(repeated, [...range(0, prompt + first), ...lastRows])
      const c = await run(alone, lastRows)
      for (const [name, width] of [
        ['out', sizes.h * sizes.d],
        ['lse', sizes.h],
      ] as const) {
        const where = `${label}, heads of ${sizes.d}: ${name}`
        const [begin, end] = [prompt + first, tokens]
        const last = rowsOf(c, name, prompt, prompt + second, width)
        sameBits(
          t,
          `${where} of the prompt`,
          rowsOf(a, name, 0, prompt, width),
          rowsOf(c, name, 0, prompt, width),
        )
        sameBits(
          t,
          `${where} of the first`,
          rowsOf(a, name, 0, begin, width),
          rowsOf(b, name, 0, begin, width),
        )
        sameBits(t, `${where} of the second`, rowsOf(a, name, begin, end, width), last)
        const place = 2 * prompt + first
        sameBits(t, `${where} of the second, repeated`, rowsOf(b, name, place, place + second, width), last)
      }
    }
  }
  if (!devices.all.some(isCuda)) t.pass('no device that computes in bfloat16')
})

test('in bfloat16 a query does not see what comes after it: neither NaN nor infinity there changes anything', async t => {
  const sizes = { h: 2, k: 1, d: 24, ...packed(100) }
  const width = sizes.h * sizes.d
  const inputs = forwardCase('causal', sizes).make(new CounterRandom(34, 'causal'))
  const from = 70
  for (const { device, label } of devices.all.filter(isCuda)) {
    const before = await runCase(device, halfCase('causal', sizes), inHalves(inputs))
    for (const [what, names, value] of [
      ['everything', ['q', 'k', 'v'], Number.NaN],
      ['values', ['v'], Number.POSITIVE_INFINITY],
      ['keys', ['k'], Number.NEGATIVE_INFINITY],
    ] as const) {
      const spoiled = { ...inputs }
      for (const name of names) {
        const tensor = inputs[name]!
        const data = Float32Array.from(tensor.data)
        data.fill(value, from * tensor.shape[1]!)
        spoiled[name] = { ...tensor, data }
      }
      const after = await runCase(device, halfCase('causal', sizes), inHalves(spoiled))
      sameBits(
        t,
        `${label}: ${what}`,
        rowsOf(after, 'out', 0, from, width),
        rowsOf(before, 'out', 0, from, width),
      )
      const seen = values(rowsOf(after, 'out', from, from + 1, width), 'bfloat16')
      t.true(
        Array.from(seen).every(x => !Number.isFinite(x)) || what === 'keys',
        `${label}: ${what}: ${seen.slice(0, 4)}`,
      )
    }
  }
  if (!devices.all.some(isCuda)) t.pass('no device that computes in bfloat16')
})

test('a failed check of the kernel in bfloat16 fails the stream', async t => {
  const run =
    (...sequences: number[]) =>
    (device: Device) => {
      const table = device.int32(Int32Array.from(sequences), [sequences.length / 4, 4])
      const [q, k] = [device.zeros([9, 16], 'bfloat16'), device.zeros([9, 8], 'bfloat16')]
      attention(undefined, { q, k, v: k, sequences: table, scale: 1, heads: 2 })
    }
  const names = testDeviceNames().filter(name => name !== 'cpu')
  if (names.length === 0) return t.pass('no device that computes in bfloat16')
  return failsOnStream(
    t,
    'attention',
    [
      [/sequence 1 has rows \[5, \+-2\) of 9/, run(0, 3, 0, 0, 5, -2, 0, 0)],
      [/sequence 1 has rows \[2147483647, \+2147483647\)/, run(0, 3, 0, 0, 0x7fffffff, 0x7fffffff, 0, 0)],
      [/sequence 1 has prefix rows \[0, \+10\) of 9/, run(0, 3, 0, 0, 3, 3, 0, 10)],
      [/sequences 0 and 1 both own row 2/, run(0, 3, 0, 0, 2, 3, 0, 0)],
      [
        /expected k of bfloat16, got float32/,
        device => {
          const [q, k, lse] = [
            device.zeros([3, 16], 'bfloat16').handle,
            device.zeros([3, 8]).handle,
            device.zeros([3, 2]).handle,
          ]
          device.ops.attentionForward(device.handle, q, k, k, device.zeros([1, 4], 'int32').handle, 1, q, lse)
        },
      ],
    ],
    names,
  )
})
