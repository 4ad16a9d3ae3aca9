// The transformer against a plain float64 one written from the papers' formulas, for each architecture; and what a pass
// leaves behind.
import test from 'ava'
import type { Policy } from '../../lib/index.js'
import { inverseFrequencies } from '../../lib/policy/rope-table.js'
import { isas, randomTokens, tinyNames, tinyPolicies, withPolicy } from '../_helpers/policies.js'

type Vector = number[]

/** Log-probabilities of the tokens after the first, by the formulas. */
function reference(policy: Policy, flat: Float32Array, tokens: Int32Array): Vector {
  const { config } = policy
  const { heads, kvHeads, headDim, layers, hiddenSize, intermediateSize, vocabSize } = config
  const tensor = (name: string) => {
    const found = policy.model.layout.byName.get(name)
    return found && flat.subarray(found.offset, found.offset + found.size)
  }
  const product = (name: string, x: Vector, rows: number, bias?: string): Vector => {
    const weight = tensor(name) as Float32Array
    const offset = bias === undefined ? undefined : tensor(bias)
    return Array.from({ length: rows }, (_, r) => {
      let sum = offset?.[r] ?? 0
      for (let c = 0; c < x.length; c++) sum += (weight[r * x.length + c] as number) * (x[c] as number)
      return sum
    })
  }
  const norm = (x: Vector, name: string): Vector => {
    const weight = tensor(name)
    if (weight === undefined) return x
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + config.rmsNormEps)
    return x.map((v, i) => v * scale * (weight[i] as number))
  }
  const frequencies = inverseFrequencies(config)
  const rotate = (x: Vector, position: number): Vector => {
    const half = headDim / 2
    return x.map((v, i) => {
      const angle = position * (frequencies[i % half] as number)
      const partner = i < half ? -(x[i + half] as number) : (x[i - half] as number)
      return v * Math.cos(angle) + partner * Math.sin(angle)
    })
  }
  const headsOf = (x: Vector, count: number) =>
    Array.from({ length: count }, (_, h) => x.slice(h * headDim, (h + 1) * headDim))

  const embedding = tensor('model.embed_tokens.weight') as Float32Array
  let stream = Array.from(tokens, token => [
    ...embedding.subarray(token * hiddenSize, (token + 1) * hiddenSize),
  ])
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`
    const attention = `${prefix}.self_attn`
    const part = (x: Vector, name: string, count: number) =>
      headsOf(
        product(`${attention}.${name}_proj.weight`, x, count * headDim, `${attention}.${name}_proj.bias`),
        count,
      )
    const normed = stream.map(x => norm(x, `${prefix}.input_layernorm.weight`))
    const q = normed.map((x, t) =>
      part(x, 'q', heads).map(head => rotate(norm(head, `${attention}.q_norm.weight`), t)),
    )
    const k = normed.map((x, t) =>
      part(x, 'k', kvHeads).map(head => rotate(norm(head, `${attention}.k_norm.weight`), t)),
    )
    const v = normed.map(x => part(x, 'v', kvHeads))
    stream = stream.map((x, t) => {
      const mixed = Array.from({ length: heads }, (_, h) => {
        const group = Math.floor(h / (heads / kvHeads))
        const scores = k
          .slice(0, t + 1)
          .map(keys =>
            (keys[group] as Vector).reduce((sum, key, d) => sum + key * (q[t]?.[h]?.[d] as number), 0),
          )
        const weights = scores.map(score => Math.exp((score - Math.max(...scores)) / Math.sqrt(headDim)))
        const total = weights.reduce((sum, w) => sum + w, 0)
        return Array.from({ length: headDim }, (_, d) =>
          weights.reduce((sum, w, s) => sum + (w / total) * (v[s]?.[group]?.[d] as number), 0),
        )
      }).flat()
      const added = product(`${attention}.o_proj.weight`, mixed, hiddenSize).map(
        (y, i) => y + (x[i] as number),
      )
      const inner = norm(added, `${prefix}.post_attention_layernorm.weight`)
      const gate = product(`${prefix}.mlp.gate_proj.weight`, inner, intermediateSize)
      const up = product(`${prefix}.mlp.up_proj.weight`, inner, intermediateSize)
      const active = gate.map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] as number))
      return product(`${prefix}.mlp.down_proj.weight`, active, hiddenSize).map(
        (y, i) => y + (added[i] as number),
      )
    })
  }
  const output = config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight'
  return Array.from(tokens.subarray(1), (token, t) => {
    const logits = product(output, norm(stream[t] as Vector, 'model.norm.weight'), vocabSize)
    const largest = Math.max(...logits)
    const total = logits.reduce((sum, z) => sum + Math.exp(z - largest), 0)
    return (logits[token] as number) - largest - Math.log(total)
  })
}

for (const name of tinyNames) {
  test(`${name} is what its formulas say`, async t => {
    for (const isa of isas) {
      await withPolicy(tinyPolicies[name], { threads: 2, isa }, async (policy, device) => {
        // Norms and biases start at 1 and 0: made different, so that each one counts.
        const flat = await device.readFloat32(policy.model.values)
        for (const { offset, size, shape } of policy.model.layout.parameters) {
          if (shape.length > 1) continue
          for (let i = 0; i < size; i++)
            flat[offset + i] = (flat[offset + i] as number) + 0.3 * Math.sin(offset + i)
        }
        device.write(policy.model.values, flat)
        const tokens = randomTokens(24, 5)
        const [scored] = await policy.logProbs([{ tokens, promptLength: 1 }])
        reference(policy, flat, tokens).forEach((expected, i) => {
          const got = scored?.logProbs[i] as number
          t.true(
            Math.abs(got - expected) < 2e-5 * Math.max(1, Math.abs(expected)),
            `${isa} ${i}: ${got} ${expected}`,
          )
        })
      })
    }
  })
}

test('a pass leaves nothing behind', async t => {
  await withPolicy(tinyPolicies.qwen3, { threads: 1 }, async (policy, device) => {
    const sequences = [{ tokens: randomTokens(30, 1), promptLength: 4 }]
    await policy.logProbs(sequences)
    const { liveTensors, liveBytes } = device.info()
    await policy.logProbs([...sequences, { tokens: randomTokens(9, 2), promptLength: 9 }])
    t.deepEqual(await policy.logProbs([]), [])
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await t.throwsAsync(policy.logProbs(sequences, { signal: controller.signal }))
    t.deepEqual([device.info().liveTensors, device.info().liveBytes], [liveTensors, liveBytes])
  })
})
