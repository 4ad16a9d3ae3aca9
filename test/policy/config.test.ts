import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ConfigError, ModelFileError } from '../../lib/errors.js'
import { createPolicyConfig, type PolicyOptions, withOverrides } from '../../lib/policy/config.js'
import {
  parsePolicyConfig,
  policyConfigFrom,
  readPolicyConfig,
  toGenerationConfig,
  toHuggingFace,
} from '../../lib/policy/hugging-face-config.js'
import { goldenFolder, goldenPolicies, temporaryFolder } from './_files.js'

// As Hugging Face publishes it for Qwen2.5-0.5B-Instruct.
const qwen25 = {
  architectures: ['Qwen2ForCausalLM'],
  attention_dropout: 0.0,
  bos_token_id: 151643,
  eos_token_id: 151645,
  hidden_act: 'silu',
  hidden_size: 896,
  initializer_range: 0.02,
  intermediate_size: 4864,
  max_position_embeddings: 32768,
  max_window_layers: 21,
  model_type: 'qwen2',
  num_attention_heads: 14,
  num_hidden_layers: 24,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000.0,
  sliding_window: 32768,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  use_cache: true,
  use_sliding_window: false,
  vocab_size: 151936,
}

const llama32 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009],
  head_dim: 64,
  hidden_act: 'silu',
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32.0,
    high_freq_factor: 4.0,
    low_freq_factor: 1.0,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  rope_theta: 500000.0,
  tie_word_embeddings: true,
  vocab_size: 128256,
}

const parse = (config: object) => parsePolicyConfig(JSON.stringify(config), 'config.json')

test('published configurations are understood', t => {
  const qwen = parse(qwen25)
  t.like(qwen, {
    architecture: 'qwen2',
    layers: 24,
    heads: 14,
    kvHeads: 2,
    headDim: 64,
    qkvBias: true,
    qkNorm: false,
  })
  t.like(qwen, { ropeTheta: 1e6, ropeScaling: null, tieWordEmbeddings: true, eosTokenIds: [151645] })
  const llama = parse(llama32)
  t.like(llama, { architecture: 'llama', headDim: 64, qkvBias: false, eosTokenIds: [128001, 128008, 128009] })
  t.deepEqual(llama.ropeScaling, {
    kind: 'llama3',
    factor: 32,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositions: 8192,
  })
  const { num_key_value_heads: _, ...noGroups } = llama32
  t.is(parse(noGroups).kvHeads, 32)
})

test('both spellings of the rotary options mean the same', t => {
  const { rope_theta, rope_scaling, ...rest } = llama32
  t.deepEqual(parse({ ...rest, rope_parameters: { ...rope_scaling, rope_theta } }), parse(llama32))
  const { rope_type, ...block } = rope_scaling
  t.deepEqual(parse({ ...llama32, rope_scaling: { ...block, type: rope_type } }), parse(llama32))
  t.is(parse({ ...qwen25, rope_scaling: { type: 'default' } }).ropeScaling, null)
  t.is(parse({ ...qwen25, rope_parameters: { rope_theta: 1e6, rope_type: 'default' } }).ropeTheta, 1e6)
  t.is(parse({ ...qwen25, rope_theta: undefined }).ropeTheta, 10000)
  for (const name of goldenPolicies) {
    const config = parsePolicyConfig(readFileSync(join(goldenFolder(name), 'config.json')), name)
    t.deepEqual(parse(toHuggingFace(config)), config, name)
  }
})

test('what is written is read back', t => {
  for (const source of [qwen25, llama32]) {
    const config = parse(source)
    t.deepEqual(parse(toHuggingFace(config, 'bfloat16')), config)
    t.is(toHuggingFace(config, 'bfloat16').torch_dtype, 'bfloat16')
  }
  t.is(toGenerationConfig(parse(qwen25)).eos_token_id, 151645)
  t.deepEqual(toGenerationConfig(parse(llama32)).eos_token_id, [128001, 128008, 128009])
})

const size = 'an integer from 1 to'
const bad: readonly [change: object, says: string][] = [
  [
    { architectures: ['MistralForCausalLM'], model_type: 'mistral' },
    'architecture MistralForCausalLM (model_type mistral) not supported (have: Qwen2ForCausalLM, Qwen3ForCausalLM, LlamaForCausalLM)',
  ],
  [{ architectures: ['Qwen2ForSequenceClassification'] }, 'architecture Qwen2ForSequenceClassification'],
  [{ architectures: ['LlamaForCausalLM'] }, 'architecture LlamaForCausalLM (model_type qwen2) not supported'],
  [{ architectures: undefined, model_type: 'gpt2' }, 'architecture gpt2 not supported'],
  [{ architectures: undefined, model_type: undefined }, 'architecture undefined not supported'],
  [{ architectures: [], model_type: '__proto__' }, 'architecture __proto__ not supported'],
  [{ architectures: [7] }, 'not supported'],
  ...['hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads', 'vocab_size'].flatMap(
    key =>
      [undefined, null, 0, -1, 1.5, '896', 2 ** 40, true, [896]].map(
        value => [{ [key]: value }, `config.json: ${key}: expected ${size}`] as [object, string],
      ),
  ),
  ...[0, -2, 2.5, '2'].map(
    value => [{ num_key_value_heads: value }, 'num_key_value_heads'] as [object, string],
  ),
  [{ num_key_value_heads: 3 }, 'heads 14 is not a multiple of kvHeads 3'],
  [{ num_key_value_heads: 28 }, 'heads 14 is not a multiple of kvHeads 28'],
  [
    { num_attention_heads: 13, num_key_value_heads: 13 },
    'hidden_size 896 is not a multiple of num_attention_heads 13',
  ],
  [{ head_dim: 63 }, 'headDim must be even and from 8 to 256, got 63'],
  [{ head_dim: 4 }, 'headDim must be even'],
  [{ head_dim: 258 }, 'head_dim: expected an integer from 1 to 256'],
  [{ head_dim: 0 }, 'head_dim'],
  ...[0, -1e-6, '1e-6', 2].map(value => [{ rms_norm_eps: value }, 'rms_norm_eps'] as [object, string]),
  ...[0, -1, '10000'].map(value => [{ rope_theta: value }, 'rope_theta'] as [object, string]),
  [
    { rope_parameters: { rope_theta: 5, rope_type: 'default' } },
    'rope_theta is given twice, as 1000000 and 5',
  ],
  ...['yarn', 'linear', 'dynamic', 'longrope', 'mrope', 'su'].flatMap(kind => [
    [
      { rope_scaling: { type: kind, factor: 4 } },
      `rope type "${kind}" not supported (have: default, llama3)`,
    ] as [object, string],
    [{ rope_parameters: { rope_type: kind, factor: 4 } }, `rope type "${kind}" not supported`] as [
      object,
      string,
    ],
  ]),
  [{ rope_scaling: { rope_type: 3 } }, 'rope_scaling.rope_type: expected a string'],
  [{ rope_scaling: [] }, 'rope_scaling: expected an object'],
  [{ rope_scaling: { ...llama32.rope_scaling, factor: 0 } }, 'rope_scaling.factor'],
  [{ rope_scaling: { ...llama32.rope_scaling, factor: undefined } }, 'rope_scaling.factor'],
  [
    { rope_scaling: { ...llama32.rope_scaling, low_freq_factor: 4 } },
    'highFreqFactor must be above lowFreqFactor',
  ],
  [
    { rope_scaling: { ...llama32.rope_scaling, original_max_position_embeddings: 0.5 } },
    'original_max_position',
  ],
  [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
  [{ max_position_embeddings: 0 }, 'max_position_embeddings'],
  [{ use_sliding_window: true }, 'use_sliding_window true not supported'],
  [{ use_sliding_window: 'yes' }, 'use_sliding_window: expected true or false'],
  [{ layer_types: ['full_attention', 'sliding_attention'] }, 'layer type "sliding_attention" not supported'],
  [{ layer_types: 'full_attention' }, 'layer_types: expected an array'],
  [{ hidden_act: 'gelu' }, 'hidden_act "gelu" not supported (have: silu)'],
  [{ tie_word_embeddings: 1 }, 'tie_word_embeddings'],
  [{ quantization_config: { quant_method: 'gptq' } }, 'quantised weights are not supported'],
  [{ eos_token_id: 151936 }, 'eos_token_id: expected token ids from 0 to 151935, got 151936'],
  [{ eos_token_id: [1, -2] }, 'eos_token_id'],
  [{ eos_token_id: 'x' }, 'eos_token_id'],
  [{ bos_token_id: 1.5 }, 'bos_token_id'],
]

test('what is not supported or cannot be is refused by name', t => {
  t.true(bad.length >= 80, `${bad.length} cases`)
  for (const [change, says] of bad) {
    const error = t.throws(() => parse({ ...qwen25, ...change }), { instanceOf: ModelFileError }, says)
    t.true(error?.message.startsWith('config.json: '), error?.message)
    t.true(error?.message.includes(says), `expected "${says}" in "${error?.message}"`)
  }
  for (const key of ['attention_bias', 'mlp_bias']) {
    t.throws(() => parse({ ...llama32, [key]: true }), {
      instanceOf: ModelFileError,
      message: new RegExp(key),
    })
  }
  // Qwen2 code ignores the key.
  t.true(parse({ ...qwen25, attention_bias: true }).qkvBias)
  for (const text of [
    '',
    '[]',
    '{"vocab_size": 1, "vocab_size": 2}',
    '{"a": 9007199254740993}',
    'version https',
  ]) {
    t.throws(() => parsePolicyConfig(text, 'config.json'), { instanceOf: ModelFileError }, text)
  }
})

test('end tokens of generation_config.json are added', async t => {
  const folder = temporaryFolder(t)
  const write = (name: string, content: object | string) =>
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  write('config.json', qwen25)
  t.deepEqual((await readPolicyConfig(folder)).eosTokenIds, [151645])
  write('generation_config.json', { eos_token_id: [151643, 151645] })
  t.deepEqual((await readPolicyConfig(folder)).eosTokenIds, [151643, 151645])
  write('generation_config.json', { eos_token_id: 200000 })
  await t.throwsAsync(readPolicyConfig(folder), {
    instanceOf: ModelFileError,
    message: /generation_config\.json: eos/,
  })
  write('generation_config.json', '{')
  await t.throwsAsync(readPolicyConfig(folder), { instanceOf: ModelFileError })
  const other = join(folder, 'other')
  mkdirSync(join(other, 'config.json'), { recursive: true })
  await t.throwsAsync(readPolicyConfig(other), { instanceOf: ModelFileError, message: /is a folder/ })
  await t.throwsAsync(readPolicyConfig(join(folder, 'none')), {
    instanceOf: ModelFileError,
    message: /no such folder/,
  })
})

test('a new policy: defaults, other spellings, and Hugging Face objects', t => {
  t.like(createPolicyConfig({ vocabSize: 64 }), {
    architecture: 'qwen2',
    hiddenSize: 128,
    intermediateSize: 384,
    layers: 4,
    heads: 4,
    kvHeads: 4,
    headDim: 32,
    tieWordEmbeddings: true,
    qkvBias: true,
    initializerRange: 0.02,
  })
  t.like(createPolicyConfig({ vocabSize: 8192, hiddenSize: 384 }), {
    heads: 6,
    headDim: 64,
    intermediateSize: 1024,
  })
  t.like(createPolicyConfig({ vocabSize: 9, architecture: 'qwen3' }), { qkvBias: false, qkNorm: true })
  const spelled = {
    vocabSize: 64,
    numHiddenLayers: 2,
    numAttentionHeads: 8,
    numKeyValueHeads: 2,
    modelType: 'llama',
  }
  t.like(policyConfigFrom(spelled), {
    layers: 2,
    heads: 8,
    kvHeads: 2,
    architecture: 'llama',
    qkvBias: false,
  })
  t.deepEqual(policyConfigFrom(llama32), parse(llama32))
  t.deepEqual(createPolicyConfig({ vocabSize: 64, eosTokenIds: [3, 3, 4] }).eosTokenIds, [3, 4])
  t.deepEqual(createPolicyConfig({ vocabSize: 64, eosTokenIds: 2 }).eosTokenIds, [2])
  const config = createPolicyConfig({ vocabSize: 64 })
  t.true(Object.isFrozen(config))
  t.deepEqual(parse(toHuggingFace(config)), config)
})

test('a new policy: what cannot be is refused', t => {
  const create = (options: object) => () => createPolicyConfig(options as PolicyOptions)
  t.throws(create({ vocabSize: 9, hidenSize: 8 }), {
    instanceOf: ConfigError,
    message: /did you mean "hiddenSize"/,
  })
  t.throws(create({ vocabSize: 9, layers: 1, numLayers: 1 }), {
    instanceOf: ConfigError,
    message: /given twice/,
  })
  t.throws(create({}), { instanceOf: ConfigError, message: /vocabSize is missing/ })
  t.throws(create(JSON.parse('{"vocabSize": 9, "__proto__": {}}')), { instanceOf: ConfigError })
  t.throws(() => createPolicyConfig(null as never), { instanceOf: TypeError })
  for (const change of [
    { vocabSize: 0 },
    { vocabSize: 2 ** 23 },
    { layers: 1.5 },
    { layers: Number.NaN },
    { heads: 3 },
    { kvHeads: 3 },
    { headDim: 7 },
    { headDim: 512 },
    { hiddenSize: 2 ** 40 },
    { rmsNormEps: 0 },
    { ropeTheta: Number.POSITIVE_INFINITY },
    { eosTokenIds: [64] },
    { padTokenId: -1 },
    { architecture: 'qwen' },
  ]) {
    t.throws(create({ vocabSize: 64, ...change }), { instanceOf: RangeError }, JSON.stringify(change))
  }
  for (const change of [{ layers: '4' }, { tieWordEmbeddings: 1 }, { ropeScaling: 3 }, { architecture: 2 }]) {
    t.throws(create({ vocabSize: 64, ...change }), { instanceOf: TypeError }, JSON.stringify(change))
  }
  t.throws(create({ vocabSize: 64, ropeScaling: { kind: 'yarn' } }), { instanceOf: RangeError })
})

test('the rotary base and the longest sequence can be replaced', t => {
  const config = parse(qwen25)
  const changed = withOverrides(config, { ropeTheta: 40000, maxPositions: 16384 })
  t.deepEqual(changed, { ...config, ropeTheta: 40000, maxPositions: 16384 })
  t.deepEqual(withOverrides(config, {}), config)
  t.throws(() => withOverrides(config, { ropeTheta: 0 }), { instanceOf: RangeError })
  t.throws(() => withOverrides(config, { maxPositions: 1.5 }), { instanceOf: RangeError })
})
