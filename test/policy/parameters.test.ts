import { createHash } from 'node:crypto'
import test from 'ava'
import { createPolicyConfig, type PolicyOptions } from '../../lib/policy/config.js'
import { initializeParameters, parameterLayout } from '../../lib/policy/parameters.js'

const shapes: Partial<PolicyOptions>[] = [
  {},
  { architecture: 'qwen3', tieWordEmbeddings: false },
  { architecture: 'llama', tieWordEmbeddings: false, kvHeads: 1 },
  // Sizes that are no multiple of 16.
  { hiddenSize: 30, heads: 3, kvHeads: 3, headDim: 10, intermediateSize: 41, layers: 1, vocabSize: 97 },
  {
    architecture: 'qwen3',
    hiddenSize: 7,
    heads: 5,
    kvHeads: 5,
    headDim: 8,
    intermediateSize: 3,
    vocabSize: 1,
  },
]
const configs = shapes.map(shape => createPolicyConfig({ vocabSize: 64, ...shape }))

test('parameters do not overlap, groups are aligned, and nothing but gaps is left over', t => {
  for (const config of configs) {
    const layout = parameterLayout(config)
    let end = 0
    let gaps = 0
    for (const { name, offset, size, shape } of layout.parameters) {
      t.true(offset >= end && offset - end < 16, name)
      gaps += offset - end
      t.is(
        size,
        shape.reduce((a, b) => a * b, 1),
        name,
      )
      end = offset + size
    }
    t.is(layout.size, Math.ceil(end / 16) * 16)
    t.is(layout.parameterCount, end - gaps)
    t.is(layout.byName.size, layout.parameters.length)
    const views = [
      layout.embedding,
      layout.finalNorm,
      layout.output,
      ...layout.layers.flatMap(layer => Object.values(layer).filter(view => view !== null)),
    ]
    for (const view of views) t.is(view.offset % 16, 0)
  }
})

test('fused views are their parts, one after the other', t => {
  for (const config of configs) {
    const { byName, layers, embedding, output } = parameterLayout(config)
    const { heads, kvHeads, headDim, hiddenSize, intermediateSize } = config
    const rows = (heads + 2 * kvHeads) * headDim
    for (const [index, layer] of layers.entries()) {
      const part = (name: string) => byName.get(`model.layers.${index}.${name}`)!
      const parts = ['q', 'k', 'v'].map(letter => part(`self_attn.${letter}_proj.weight`))
      t.deepEqual(layer.qkvWeight.shape, [rows, hiddenSize])
      t.is(parts[0]!.offset, layer.qkvWeight.offset)
      t.is(parts[1]!.offset, parts[0]!.offset + heads * headDim * hiddenSize)
      t.is(parts[2]!.offset, parts[1]!.offset + kvHeads * headDim * hiddenSize)
      t.is(layer.qkvWeight.size, rows * hiddenSize)
      t.deepEqual(layer.qkvBias?.shape, config.qkvBias ? [rows] : undefined)
      t.is(part('self_attn.q_proj.bias') !== undefined, config.qkvBias)
      t.deepEqual(layer.qNorm?.shape, config.qkNorm ? [headDim] : undefined)
      const [gate, up] = [part('mlp.gate_proj.weight'), part('mlp.up_proj.weight')]
      t.deepEqual(layer.gateUpWeight.shape, [2 * intermediateSize, hiddenSize])
      t.is(layer.gateUpWeight.offset, gate.offset)
      t.is(up.offset, gate.offset + gate.size)
      t.deepEqual(layer.outputWeight.shape, [hiddenSize, heads * headDim])
      t.deepEqual(layer.downWeight.shape, [hiddenSize, intermediateSize])
    }
    t.is(output === embedding, config.tieWordEmbeddings)
    t.is(byName.has('lm_head.weight'), !config.tieWordEmbeddings)
  }
})

test('the parameter counts of known policies', t => {
  const small = { vocabSize: 64, hiddenSize: 128, layers: 4, heads: 4, kvHeads: 4, intermediateSize: 384 }
  t.is(parameterLayout(createPolicyConfig(small)).parameterCount, 862_848)
  const qwen = {
    vocabSize: 151936,
    hiddenSize: 896,
    layers: 24,
    heads: 14,
    kvHeads: 2,
    intermediateSize: 4864,
  }
  // Qwen2.5-0.5B
  t.is(parameterLayout(createPolicyConfig(qwen)).parameterCount, 494_032_768)
})

async function initial(config: (typeof configs)[number], seed: number): Promise<Float32Array> {
  const layout = parameterLayout(config)
  const values = new Float32Array(layout.size)
  let end = 0
  await initializeParameters(config, layout, seed, (start, piece) => {
    // In order, and no element twice.
    if (start < end) throw new Error(`element ${start} comes after ${end}`)
    values.set(piece, start)
    end = start + piece.length
  })
  return values
}

test('a seed gives the same bytes, another seed others', async t => {
  const config = createPolicyConfig({ vocabSize: 64, layers: 2 })
  const [first, again, other] = [
    await initial(config, 5),
    await initial(config, 5),
    await initial(config, 2 ** 40 + 5),
  ]
  t.deepEqual(first, again)
  t.notDeepEqual(first, other)
  // On every machine: this hash stands for the generator, the layout and the order of drawing.
  const hash = createHash('sha256').update(new Uint8Array(first.buffer)).digest('hex')
  t.is(hash.slice(0, 16), '17610cf7dbc72765')
})

test('norms are 1, biases and gaps 0, matrices normal with the right deviation', async t => {
  for (const config of configs) {
    const layout = parameterLayout(config)
    const values = await initial(config, 1)
    let end = 0
    for (const { name, offset, size, shape } of layout.parameters) {
      t.true(
        values.subarray(end, offset).every(value => value === 0),
        `before ${name}`,
      )
      end = offset + size
      const part = values.subarray(offset, end)
      if (name.endsWith('norm.weight'))
        t.true(
          part.every(value => value === 1),
          name,
        )
      else if (name.endsWith('.bias'))
        t.true(
          part.every(value => value === 0),
          name,
        )
      else if (size > 4000) {
        const isResidual = /o_proj|down_proj/.test(name)
        const expected = 0.02 / (isResidual ? Math.sqrt(2 * config.layers) : 1)
        const mean = part.reduce((sum, value) => sum + value, 0) / size
        const deviation = Math.sqrt(part.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size)
        // Five standard errors.
        t.true(Math.abs(mean) < (5 * expected) / Math.sqrt(size), `${name}: mean ${mean}`)
        t.true(
          Math.abs(deviation / expected - 1) < 5 / Math.sqrt(2 * size),
          `${name}: deviation ${deviation}`,
        )
      }
      t.true(shape.length === 1 || new Set(part.subarray(0, 20)).size === Math.min(20, size), name)
    }
    t.true(values.subarray(end).every(value => value === 0))
  }
})
