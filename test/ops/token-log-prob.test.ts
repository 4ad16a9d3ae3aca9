// token-log-prob: against float64, gradients, and logits that are -infinity, huge, or not numbers.
import test from 'ava'
import { tokenLogProb } from '../../lib/ops/token-log-prob.js'
import { CounterRandom } from '../../lib/random.js'
import { normal } from '../_cases/case.js'
import { backwardCase, bfloat16Cases, cases, forwardCase, makeRows } from '../_cases/token-log-prob.js'
import { testAlignment } from '../_helpers/alignment.js'
import { sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { checkGradients } from '../_helpers/gradient-check.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testBfloat16 } from '../_helpers/run-bfloat16.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  logProbs: 1.5e-7, // 4.4e-8
  entropy: 6e-7, // 1.7e-7
  gradLogits: 4e-7, // 1.2e-7
  logits: 9e-8, // 2.3e-8
})

// Shares of the largest magnitude, as above.
testBfloat16(test, devices, bfloat16Cases, { logProbs: 1.5e-7, entropy: 6e-7 })

testAlignment(
  test,
  devices,
  [64, 9004].flatMap(v => [forwardCase({ rows: 3, v }), backwardCase({ rows: 3, v })]),
)

test('gradients', async t => {
  const device = devices.best
  const tokens = device.int32(Int32Array.of(4, 0, 2))
  await checkGradients(t, device, {
    inputs: { logits: normal(new CounterRandom(18, 'token-log-prob'), [3, 5]) },
    forward(tape, { logits }) {
      tape?.borrow(tokens)
      return [tokenLogProb(tape, logits!.value, tokens, 0.7).logProbs]
    },
    tolerance: 8e-6,
  })
})

test('a row alone has the bits it has in a batch', async t => {
  const { logits, tokens } = makeRows(new CounterRandom(19, 'rows'), { rows: 37, v: 4099 })
  for (const { device, label } of devices.all) {
    const results = device.scope(() => {
      const batch = device.float32(logits!.data as Float32Array, [37, 4099])
      const all = device.int32(tokens!.data as Int32Array)
      return [
        tokenLogProb(undefined, batch, all, 0.9),
        tokenLogProb(undefined, batch.rowRange(21, 22), all.rowRange(21, 22), 0.9),
      ]
    })
    for (const name of ['logProbs', 'entropy'] as const) {
      const [whole, alone] = await Promise.all(results.map(result => device.readFloat32(result[name])))
      sameBits(t, `${label}: ${name} of row 21`, alone!, whole!.slice(21, 22))
    }
  }
})

test('corners: -infinity, certainty, huge logits, rows without a distribution', async t => {
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number
  const rows: [row: number[], token: number, logProb: number, entropy: number][] = [
    [[0, -infinity, 0, -infinity], 0, Math.log(0.5), Math.log(2)],
    [[0, -infinity, 0, -infinity], 1, -infinity, Math.log(2)],
    [[5, -infinity, -infinity, -infinity], 0, 0, 0],
    [[3e38, -3e38, 0, 0], 0, 0, 0],
    [[0, 200, 0, 0], 0, -200, 0],
    [[0, nan, 0, 0], 0, nan, nan],
    [[0, infinity, 0, 0], 1, nan, nan],
    [[-infinity, -infinity, -infinity, -infinity], 2, nan, nan],
    [[7, 7, 7, 7], 3, Math.log(0.25), Math.log(4)],
  ]
  for (const { device, label } of devices.all) {
    const { logProbs, entropy } = device.scope(() =>
      tokenLogProb(
        undefined,
        device.float32(Float32Array.from(rows.flatMap(([row]) => row)), [rows.length, 4]),
        device.int32(Int32Array.from(rows, ([, token]) => token)),
        1,
      ),
    )
    const [gotLogProbs, gotEntropy] = [await device.readFloat32(logProbs), await device.readFloat32(entropy)]
    for (const [r, [row, token, logProb, h]] of rows.entries()) {
      const close = (a: number, b: number) => Object.is(a, b) || a === b || Math.abs(a - b) < 1e-6
      t.true(
        close(gotLogProbs[r]!, logProb),
        `${label}: token ${token} of [${row}]: ${gotLogProbs[r]}, not ${logProb}`,
      )
      t.true(close(gotEntropy[r]!, h), `${label}: entropy of [${row}]: ${gotEntropy[r]}, not ${h}`)
    }
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [logits, tokens] = [device.zeros([2, 5]), device.zeros([2], 'int32')]
  await refusesArguments(t, device, 'token-log-prob', [
    ['logits', () => tokenLogProb(undefined, device.empty([5]), tokens, 1)],
    ['logits', () => tokenLogProb(undefined, device.empty([2, 5], 'float16'), tokens, 1)],
    ['tokens', () => tokenLogProb(undefined, logits, device.empty([3], 'int32'), 1)],
    ['tokens', () => tokenLogProb(undefined, logits, device.empty([2]), 1)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const tokens = (...ids: number[]) => Int32Array.from(ids)
  await failsOnStream(t, 'token-log-prob', [
    [
      /tokens\[1\] is 5/,
      device => tokenLogProb(undefined, device.zeros([2, 5]), device.int32(tokens(4, 5)), 1),
    ],
    [
      /backward\): tokens\[1\] is 2147483647, outside a vocabulary of 5/,
      device => {
        const [logits, grad] = [device.zeros([3, 5]), device.zeros([3])]
        const ids = device.int32(tokens(4, 0x7fffffff, -1))
        device.ops.tokenLogProbBackward(
          device.handle,
          logits.handle,
          ids.handle,
          1,
          grad.handle,
          logits.handle,
        )
      },
    ],
    [
      /tokens\[0\] is -1/,
      device => tokenLogProb(undefined, device.zeros([2, 5]), device.int32(tokens(-1, 0)), 1),
    ],
    [
      /temperature above 0, got 0/,
      device => tokenLogProb(undefined, device.zeros([1, 5]), device.int32(tokens(0)), 0),
    ],
    [
      /temperature above 0, got nan/,
      device => tokenLogProb(undefined, device.zeros([1, 5]), device.int32(tokens(0)), Number.NaN),
    ],
  ])
})
