// attention: against float64, gradients through the tape, and the bits that do not depend on packing or on sharing.
import test from 'ava'
import { attention } from '../../lib/ops/attention.js'
import { CounterRandom } from '../../lib/random.js'
import type { Device } from '../../lib/tensor/device.js'
import { backwardCase, cases, forwardCase, packed, type Sequence } from '../_cases/attention.js'
import { type HostTensors, normal } from '../_cases/case.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { runCase, testCases } from '../_helpers/run-cases.js'
import { picked, range, rowsOf } from './_rows.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  out: 3.5e-6, // 9.0e-7, of scores near 40
  lse: 8e-7, // 2.1e-7
  gradQ: 1e-5, // 2.6e-6
  gradK: 1e-5, // 2.6e-6
  gradV: 8e-6, // 2.0e-6
})

test('gradients, with a shared prefix', async t => {
  const device = devices.best
  const random = new CounterRandom(28, 'attention')
  const sequences = device.int32(Int32Array.of(0, 3, 0, 0, 3, 2, 0, 3, 5, 1, 0, 2), [3, 4])
  await checkGradients(t, device, {
    inputs: { q: normal(random, [6, 16]), k: normal(random, [6, 8]), v: normal(random, [6, 8]) },
    forward(tape, { q, k, v }) {
      tape?.borrow(sequences)
      return [attention(tape, { q: q!.value, k: k!.value, v: v!.value, sequences, scale: 0.5, heads: 2 })]
    },
    tolerance: 4e-5,
  })
})

const heads = { h: 4, k: 2, d: 24 }

test('a sequence alone has the bits it has among others, forward and backward', async t => {
  const layout = packed(40, 131, 1, 70)
  const [from, to] = [40, 171]
  const alone = packed(131)
  const inputs = backwardCase('all', { ...heads, ...layout }).make(new CounterRandom(29, 'packing'))
  for (const { device, label } of devices.all) {
    const forward = await runCase(
      device,
      forwardCase('all', { ...heads, ...layout }),
      picked(inputs, ['q', 'k', 'v'], range(0, 242), layout.sequences),
    )
    const forwardAlone = await runCase(
      device,
      forwardCase('one', { ...heads, ...alone }),
      picked(inputs, ['q', 'k', 'v'], range(from, to), alone.sequences),
    )
    for (const [name, width] of [
      ['out', 96],
      ['lse', 4],
    ] as const) {
      sameBits(t, `${label}: ${name}`, forwardAlone[name]!, rowsOf(forward, name, from, to, width))
    }
    const names = ['q', 'k', 'v', 'gradOut', 'out', 'lse']
    const backward = await runCase(device, backwardCase('all', { ...heads, ...layout }), inputs)
    const backwardAlone = await runCase(
      device,
      backwardCase('one', { ...heads, ...alone }),
      picked(inputs, names, range(from, to), alone.sequences),
    )
    for (const [name, width] of [
      ['gradQ', 96],
      ['gradK', 48],
      ['gradV', 48],
    ] as const) {
      sameBits(t, `${label}: ${name}`, backwardAlone[name]!, rowsOf(backward, name, from, to, width))
    }
  }
})

test('a shared prefix gives the bits of a repeated one; its gradient is the sum', async t => {
  // The prompt is rows 0 to 67; two answers of 33 and 80 tokens follow it.
  const [prompt, first, second] = [67, 33, 80]
  const shared: Sequence[] = [
    [0, prompt, 0, 0],
    [prompt, first, 0, prompt],
    [prompt + first, second, 0, prompt],
  ]
  const tokens = prompt + first + second
  const repeated = packed(prompt + first, prompt + second)
  const rows = [...range(0, prompt + first), ...range(0, prompt), ...range(prompt + first, tokens)]
  const sharedSizes = { ...heads, tokens, sequences: shared }
  const repeatedSizes = { ...heads, ...repeated }
  const inputs = backwardCase('shared', sharedSizes).make(new CounterRandom(30, 'sharing'))
  // No loss on the prompt itself, which the repeated layout would count twice.
  inputs.gradOut!.data.fill(0, 0, prompt * 96)
  const names = ['q', 'k', 'v', 'gradOut', 'out', 'lse']
  const twice = picked(inputs, names, rows, repeated.sequences)
  const secondStart = 2 * prompt + first
  for (const { device, label } of devices.all) {
    const a = await runCase(
      device,
      forwardCase('shared', sharedSizes),
      picked(inputs, ['q', 'k', 'v'], range(0, tokens), shared),
    )
    const b = await runCase(
      device,
      forwardCase('repeated', repeatedSizes),
      picked(inputs, ['q', 'k', 'v'], rows, repeated.sequences),
    )
    for (const [name, width] of [
      ['out', 96],
      ['lse', 4],
    ] as const) {
      sameBits(
        t,
        `${label}: ${name} of the first`,
        rowsOf(a, name, 0, prompt + first, width),
        rowsOf(b, name, 0, prompt + first, width),
      )
      sameBits(
        t,
        `${label}: ${name} of the second`,
        rowsOf(a, name, prompt + first, tokens, width),
        rowsOf(b, name, secondStart, secondStart + second, width),
      )
    }
    const c = await runCase(device, backwardCase('shared', sharedSizes), inputs)
    const d = await runCase(device, backwardCase('repeated', repeatedSizes), twice)
    for (const [name, width] of [
      ['gradQ', 96],
      ['gradK', 48],
      ['gradV', 48],
    ] as const) {
      sameBits(
        t,
        `${label}: ${name} of the first`,
        rowsOf(c, name, prompt, prompt + first, width),
        rowsOf(d, name, prompt, prompt + first, width),
      )
      sameBits(
        t,
        `${label}: ${name} of the second`,
        rowsOf(c, name, prompt + first, tokens, width),
        rowsOf(d, name, secondStart, secondStart + second, width),
      )
      const one = rowsOf(d, name, 0, prompt, width)
      const other = rowsOf(d, name, prompt + first, 2 * prompt + first, width)
      isClose(
        t,
        `${label}: ${name} of the prompt`,
        rowsOf(c, name, 0, prompt, width),
        Float64Array.from(one, (x, i) => x + other[i]!),
        1e-6,
      )
    }
  }
})

test('a query does not see what comes after it: NaN there changes nothing', async t => {
  const sizes = { ...heads, ...packed(131) }
  const inputs = forwardCase('causal', sizes).make(new CounterRandom(31, 'causal'))
  for (const { device, label } of devices.all) {
    const before = await runCase(device, forwardCase('causal', sizes), inputs)
    const spoiled: HostTensors = {}
    for (const [name, tensor] of Object.entries(inputs)) {
      const data = name === 'sequences' ? tensor.data : Float32Array.from(tensor.data)
      if (name !== 'sequences') data.fill(Number.NaN, 70 * tensor.shape[1]!)
      spoiled[name] = { ...tensor, data }
    }
    const after = await runCase(device, forwardCase('causal', sizes), spoiled)
    sameBits(t, `${label}: out`, after.out!.slice(0, 70 * 96), before.out!.slice(0, 70 * 96))
    t.true(Number.isNaN(after.out![70 * 96]), label)
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [q, k, vector] = [device.zeros([3, 16]), device.zeros([3, 8]), device.zeros([3])]
  const [other, integers] = [device.zeros([4, 8]), device.zeros([3, 8], 'int32')]
  const inputs = {
    q,
    k,
    v: k,
    sequences: device.int32(Int32Array.of(0, 3, 0, 0), [1, 4]),
    scale: 1,
    heads: 2,
  }
  const run = (changed: object) => attention(undefined, { ...inputs, ...changed })
  await refusesArguments(t, device, 'attention', [
    ['q', () => run({ q: vector })],
    ['k', () => run({ k: other })],
    ['k', () => run({ k: integers })],
    ['v', () => run({ v: q })],
    ['sequences', () => run({ sequences: vector })],
    ['sequences', () => run({ sequences: q })],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const run =
    (...sequences: number[]) =>
    (device: Device) => {
      const table = device.int32(Int32Array.from(sequences), [sequences.length / 4, 4])
      const [q, k, v] = [device.zeros([9, 16]), device.zeros([9, 8]), device.zeros([9, 8])]
      attention(undefined, { q, k, v, sequences: table, scale: 1, heads: 2 })
    }
  const backward =
    (...sequences: number[]) =>
    (device: Device) => {
      const table = device.int32(Int32Array.from(sequences), [sequences.length / 4, 4]).handle
      const [q, k, lse] = [
        device.zeros([9, 16]).handle,
        device.zeros([9, 8]).handle,
        device.zeros([9, 2]).handle,
      ]
      device.ops.attentionBackward(device.handle, q, q, k, k, q, lse, table, 1, q, k, k)
    }
  await failsOnStream(t, 'attention', [
    [/sequence 0 has rows \[5, \+5\) of 9/, run(5, 5, 0, 0)],
    [/sequence 1 has rows \[5, \+-2\) of 9/, run(0, 3, 0, 0, 5, -2, 0, 0)],
    [/sequence 1 has rows \[2147483647, \+2147483647\)/, run(0, 3, 0, 0, 0x7fffffff, 0x7fffffff, 0, 0)],
    [/sequence 1 has prefix rows \[-1, \+2\) of 9/, run(0, 3, 0, 0, 3, 2, -1, 2)],
    [/the prefix \[6, \+1\) of sequence 1 must lie/, run(0, 3, 0, 0, 3, 2, 6, 1)],
    [
      /sequences 0 and 1 both own row 0/,
      run(...Array.from({ length: 20 }, (_, i) => [0, i < 19 ? 9 : 3, 0, 0]).flat()),
    ],
    [/sequences 0 and 1 both own row 2/, backward(0, 3, 0, 0, 2, 3, 0, 0)],
    [/sequence 0 has rows \[-1, \+3\)/, run(-1, 3, 0, 0)],
    [/sequences 0 and 1 both own row 2/, run(0, 3, 0, 0, 2, 3, 0, 0)],
    [/sequence 1 has prefix rows \[0, \+10\) of 9/, run(0, 3, 0, 0, 3, 3, 0, 10)],
    [/the prefix \[0, \+4\) of sequence 1 must lie inside another sequence/, run(0, 3, 0, 0, 3, 3, 0, 4)],
    [
      /the prefix \[3, \+1\) of sequence 2 must lie inside another sequence, which has no prefix/,
      run(0, 3, 0, 0, 3, 2, 0, 3, 5, 1, 3, 1),
    ],
    [/the prefix \[3, \+2\) of sequence 0 must lie inside another sequence/, run(3, 3, 3, 2)],
    [
      /even head dimension from 8 to 256, got 5/,
      device => {
        const [q, k] = [device.zeros([3, 10]), device.zeros([3, 5])]
        attention(undefined, { q, k, v: k, sequences: device.zeros([1, 4], 'int32'), scale: 1, heads: 2 })
      },
    ],
    [
      /k has 24 columns, which does not suit 4 query heads of 8/,
      device => {
        const [q, k] = [device.zeros([3, 32]), device.zeros([3, 24])]
        attention(undefined, { q, k, v: k, sequences: device.zeros([1, 4], 'int32'), scale: 1, heads: 4 })
      },
    ],
  ])
})
