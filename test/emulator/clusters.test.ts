// logits-policy-loss where the blocks of a cluster share a row, on devices of three kinds: against float64, and the same
// bits as where one block has the row or reads it twice.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { cast } from '../../lib/ops/cast.js'
import { logitsPolicyLossKernel } from '../../lib/ops/logits-policy-loss.js'
import { createMetricSums } from '../../lib/ops/policy-loss.js'
import { TokenKind } from '../../lib/ops/policy-objective.js'
import { tokenLogProb } from '../../lib/ops/token-log-prob.js'
import { CounterRandom } from '../../lib/random.js'
import { Device } from '../../lib/tensor/device.js'
import { float32, type HostTensors } from '../_cases/case.js'
import { logitsReference } from '../_cases/logits-policy-loss.js'
import { plainObjective } from '../_cases/policy-loss.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { testDeviceNames } from '../_helpers/emulator.js'
import { withEnvironment } from '../_helpers/environment.js'
import { temporaryFolder } from '../_helpers/folders.js'

const objective = { ...plainObjective, entropyShare: 0.05 }
const temperature = 0.7
const architectures = ['80', '90', '120'] as const

// Blocks of the cluster that has a row of v logits on each device; 0 where one block reads the row twice. A row whose
// length is odd stands alone, since rows begin at multiples of 16 bytes.
const cases = [
  { v: 1025, dtype: 'float32', blocks: { 80: 1, 90: 1, 120: 1 } },
  { v: 12_008, dtype: 'float32', blocks: { 80: 1, 90: 1, 120: 0 } },
  { v: 16_391, dtype: 'float32', blocks: { 80: 1, 90: 1, 120: 2 } },
  { v: 50_000, dtype: 'float32', blocks: { 80: 0, 90: 2, 120: 8 } },
  { v: 50_000, dtype: 'bfloat16', blocks: { 80: 0, 90: 1, 120: 4 } },
  { v: 151_936, dtype: 'bfloat16', blocks: { 80: 0, 90: 4, 120: 8 } },
] as const

interface Inputs {
  logits: Float32Array
  tokens: Int32Array
  kinds: Uint8Array
  v: number
  dtype: 'float32' | 'bfloat16'
}

function makeInputs({ v, dtype }: (typeof cases)[number], number: number): Inputs {
  const rows = v % 8 === 0 ? 3 : 1
  const random = new CounterRandom(24, 'clusters', number)
  const logits = Float32Array.from({ length: rows * v }, () => 4 * random.normal())
  logits[5] = Number.NEGATIVE_INFINITY
  const kinds = new Uint8Array(rows).fill(TokenKind.onPolicy)
  if (rows > 2) kinds[2] = TokenKind.masked
  // In the last, the first and the middle segment.
  return { logits, tokens: Int32Array.of(v - 1, 0, v / 2).slice(0, rows), kinds, v, dtype }
}

async function run(device: Device, { logits, tokens, kinds, v, dtype }: Inputs) {
  const made = device.scope(() => {
    const x = cast(device.float32(logits, [tokens.length, v]), dtype)
    const used = cast(x, 'float32')
    const ids = device.int32(tokens)
    const plain = tokenLogProb(undefined, x, ids, temperature)
    const metrics = createMetricSums(device)
    const ones = device.float32(new Float32Array(tokens.length).fill(1))
    const targets = { advantages: ones, weights: ones, kinds: device.uint8(kinds) }
    const fused = logitsPolicyLossKernel(x, ids, temperature, targets, objective, metrics)
    return { used, plain, fused, gradient: cast(x, 'float32'), metrics }
  })
  return {
    used: await device.readFloat32(made.used),
    plain: await device.readFloat32(made.plain.logProbs),
    logProbs: await device.readFloat32(made.fused.logProbs),
    entropy: await device.readFloat32(made.fused.entropy),
    gradient: await device.readFloat32(made.gradient),
    metrics: await device.readFloat64(made.metrics),
  }
}

if (!testDeviceNames().includes('emulated')) {
  test.skip('clusters on the emulated device: it cannot be built here, or is not asked for', () => {})
} else {
  for (const [number, oneCase] of cases.entries()) {
    const { v, dtype, blocks } = oneCase
    test.serial(`a row of ${v} in ${dtype}: right, and the same bits whoever shares it`, async t => {
      const inputs = makeInputs(oneCase, number)
      const rows = inputs.tokens.length
      const calls = join(await temporaryFolder(t), 'calls')
      const device = await Device.open('emulated')
      t.teardown(() => device.dispose())
      const results: Awaited<ReturnType<typeof run>>[] = []
      for (const arch of architectures) {
        await writeFile(calls, '')
        results.push(
          await withEnvironment({ EMULATOR_ARCH: arch, EMULATOR_CALLS: calls }, () => run(device, inputs)),
        )
        const launch = /launch .*logits_policy_loss_(staged_)?kernel.* cluster (\d+)$/m.exec(
          await readFile(calls, 'utf8'),
        )
        t.truthy(launch, 'no launch was noted')
        t.is(launch?.[1] ? Number(launch[2]) : 0, blocks[arch], `blocks for sm_${arch}`)
      }
      const first = results[0]!
      for (const result of results) {
        for (const name of ['logProbs', 'entropy', 'gradient', 'metrics'] as const)
          sameBits(t, name, result[name], first[name])
        sameBits(t, 'token-log-prob', result.plain, result.logProbs)
      }
      const hosts: HostTensors = {
        tokens: { dtype: 'int32', shape: [rows], data: inputs.tokens },
        kinds: { dtype: 'uint8', shape: [rows], data: inputs.kinds },
        advantages: float32(new Float32Array(rows).fill(1)),
        weights: float32(new Float32Array(rows).fill(1)),
        metrics: {
          dtype: 'float64',
          shape: [first.metrics.length],
          data: new Float64Array(first.metrics.length),
        },
      }
      const expected = logitsReference(first.used, v, temperature, objective, hosts)
      isClose(t, 'logProbs', first.logProbs, expected.logProbs, 2.4e-7)
      isClose(t, 'entropy', first.entropy, expected.entropy, 6e-7)
      isClose(t, 'metrics', first.metrics, expected.metrics, 2.4e-7)
      // Bfloat16 is rounded once, by half of 2^-8.
      isClose(t, 'gradient', first.gradient, expected.gradient, dtype === 'bfloat16' ? 2.1e-3 : 8e-7)
    })
  }
}
