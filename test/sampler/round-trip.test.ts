// Policies through files: what is saved is what is loaded, to the bit, for each architecture, type and number of files;
// and the golden policies, stored in half the bytes, still say what their references say, within what rounding allows.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { Device, Policy } from '../../lib/index.js'
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from '../../lib/policy/float-formats.js'
import { goldenFolder, readGolden } from '../_helpers/golden.js'
import { bits, randomTokens, tinyNames, tinyPolicies } from '../_helpers/policies.js'
import { temporaryFolder } from '../policy/_files.js'

const sequences = [3, 20, 70].map((length, i) => ({ tokens: randomTokens(length, i), promptLength: 1 + i }))

async function stateOf(policy: Policy) {
  const values = await policy.device.readFloat32(policy.model.values)
  const scored = await policy.logProbs(sequences)
  return {
    config: policy.config,
    values: bits(values),
    scored: scored.map(({ logProbs, entropy }) => [bits(logProbs), bits(entropy)]),
  }
}

// The formats' own conversions are tested against every value in float-formats.test.ts.
const rounded = {
  float32: (values: Float32Array) => values,
  bfloat16: (values: Float32Array) => through(values, float32ToBfloat16, bfloat16ToFloat32),
  float16: (values: Float32Array) => through(values, float32ToFloat16, float16ToFloat32),
}

function through(
  values: Float32Array,
  to: (from: Float32Array, to: Uint16Array) => void,
  from: (from: Uint16Array, to: Float32Array) => void,
): Float32Array {
  const half = new Uint16Array(values.length)
  to(values, half)
  const back = new Float32Array(values.length)
  from(half, back)
  return back
}

for (const name of tinyNames) {
  test(`${name}: saved and loaded, weights and log-probabilities are the same bits`, async t => {
    await using device = await Device.open('cpu', { threads: 1 })
    // Several end tokens, and a window and a rotary base of their own, go along.
    const options = { ...tinyPolicies[name], eosTokenIds: [2, 5, 1], bosTokenId: 0, ropeTheta: 40000 }
    await using policy = await Policy.create(options, { device, seed: 11 })
    const original = await stateOf(policy)
    const values = await device.readFloat32(policy.model.values)
    for (const dtype of ['float32', 'bfloat16', 'float16'] as const) {
      for (const maxShardBytes of [5e9, 20_000]) {
        const where = `${dtype}, ${maxShardBytes}`
        const folder = temporaryFolder(t)
        await policy.save(folder, { dtype, maxShardBytes })
        const files = readdirSync(folder).filter(file => file.endsWith('.safetensors'))
        t.is(files.length > 1, maxShardBytes === 20_000, where)
        await using loaded = await Policy.load(folder, { device })
        const state = await stateOf(loaded)
        t.deepEqual(state.config, original.config, where)
        t.deepEqual(state.values, bits(rounded[dtype](values)), where)
        if (dtype === 'float32') t.deepEqual(state, original, where)
        // What was rounded once is not rounded again.
        const again = temporaryFolder(t)
        await loaded.save(again, { dtype, maxShardBytes })
        for (const file of readdirSync(folder)) {
          t.deepEqual(readFileSync(join(again, file)), readFileSync(join(folder, file)), `${where}: ${file}`)
        }
        await using second = await Policy.load(again, { device })
        t.deepEqual(await stateOf(second), state, where)
      }
    }
  })
}

interface GoldenCase {
  inputIds: number[][]
  promptLength: number
  attentionMask: number[][]
  mask: number[][]
  expected: { logProbs: number[][] }
}

// A weight moves by at most 2^-9 of itself in bfloat16 and 2^-12 in float16, and a log-probability of these policies
// by some of these steps together. The largest of all three that was measured: 1.15e-2 in bfloat16, 2.2e-3 in float16.
const limits = { float16: 2 ** -8, bfloat16: 2 ** -6 }

for (const name of ['qwen2-tied', 'qwen3-head-dim', 'llama-untied']) {
  for (const dtype of ['float16', 'bfloat16'] as const) {
    test(`${name} in ${dtype} shards says what its reference says`, async t => {
      const c = readGolden<GoldenCase>(`policies/${name}/case.json`)
      await using device = await Device.open('cpu', { threads: 1 })
      await using golden = await Policy.load(join(goldenFolder, 'policies', name), { device })
      const folder = temporaryFolder(t)
      await golden.save(folder, { dtype, maxShardBytes: 10_000 })
      t.true(readdirSync(folder).filter(file => file.endsWith('.safetensors')).length > 2)
      await using policy = await Policy.load(folder, { device })
      const rows = c.inputIds.map((ids, b) => {
        const length = (c.attentionMask[b] as number[]).reduce((sum, x) => sum + x, 0)
        return { tokens: Int32Array.from(ids.slice(0, length)), promptLength: c.promptLength }
      })
      const scored = await policy.logProbs(rows)
      let worst = 0
      scored.forEach(({ logProbs }, b) => {
        logProbs.forEach((logProb, i) => {
          if (c.mask[b]?.[i] !== 1) return
          worst = Math.max(worst, Math.abs(logProb - (c.expected.logProbs[b]?.[i] as number)))
        })
      })
      t.log(`largest difference of a log-probability: ${worst.toExponential(2)}`)
      t.true(worst <= limits[dtype], `${worst}`)
      // Without the rounding the difference is that of float32, 1e-5 (golden-policies.test.ts): it was seen.
      t.true(worst > 1e-5)
    })
  }
}
