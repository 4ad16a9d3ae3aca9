// config.json and generation_config.json of Hugging Face: Qwen2 / Qwen2.5, Qwen3 and Llama 3.x, read and written.
// What luffy does not compute (quantised weights, sliding windows, other rotary scalings, other activations) is refused
// by name before anything else of the model is read.
import { join } from 'node:path'
import { ModelFileError } from '../errors.js'
import { folderProblem } from '../io/folders.js'
import { exists, readRegularFile } from '../io/regular-file.js'
import { describeValue } from '../options.js'
import {
  type Architecture,
  createPolicyConfig,
  limits,
  type PolicyConfig,
  type PolicyOptions,
  type RopeScaling,
  relationProblem,
} from './config.js'
import { JsonFields, parseJsonObject } from './json.js'

const classNames: Readonly<Record<Architecture, string>> = {
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  llama: 'LlamaForCausalLM',
}

// Real files have a few KiB; quantised ones, which list every layer, some hundred.
const maxConfigBytes = 16 * 1024 * 1024

/** The configuration of the model in a folder. */
export async function readPolicyConfig(folder: string): Promise<PolicyConfig> {
  const problem = await folderProblem(folder)
  if (problem !== undefined) {
    const hint = 'give the folder of a Hugging Face model, or hf:owner/name'
    throw new ModelFileError(`${folder}: ${problem}`, { hint, path: folder })
  }
  const path = join(folder, 'config.json')
  const config = parsePolicyConfig(await readRegularFile(path, maxConfigBytes, { within: folder }), path)
  const generationPath = join(folder, 'generation_config.json')
  if (!(await exists(generationPath))) return config
  const generation = await readRegularFile(generationPath, maxConfigBytes, { within: folder })
  return withGenerationConfig(config, generation, generationPath)
}

/** The configuration that the text of a config.json describes; `source` names it in errors. */
export function parsePolicyConfig(text: Uint8Array | string, source: string): PolicyConfig {
  return policyConfigOf(new JsonFields(parseJsonObject(text, { source }), source))
}

/** The same configuration with the end tokens of a generation_config.json beside its own. */
export function withGenerationConfig(
  config: PolicyConfig,
  text: Uint8Array | string,
  source: string,
): PolicyConfig {
  const fields = new JsonFields(parseJsonObject(text, { source }), source)
  const ids = [...tokenIds(fields, 'eos_token_id', config.vocabSize), ...config.eosTokenIds]
  return Object.freeze({ ...config, eosTokenIds: Object.freeze([...new Set(ids)]) })
}

/** What `Policy.create` takes: plain options, or the content of a config.json as an object. */
export function policyConfigFrom(options: PolicyOptions | object, where = 'Policy.create'): PolicyConfig {
  const isHuggingFace =
    typeof options === 'object' &&
    options !== null &&
    ['model_type', 'architectures', 'hidden_size', 'vocab_size'].some(name => Object.hasOwn(options, name))
  if (isHuggingFace) return parsePolicyConfig(JSON.stringify(options), where)
  return createPolicyConfig(options as PolicyOptions, where)
}

function policyConfigOf(fields: JsonFields): PolicyConfig {
  const architecture = architectureOf(fields)
  refuseUnsupported(fields, architecture)
  const size = (key: string, max: number) => fields.integer(key, 1, max)
  const orElse = <Value>(key: string, read: () => Value, fallback: Value) =>
    fields.has(key) ? read() : fallback

  const vocabSize = size('vocab_size', limits.vocabSize)
  const hiddenSize = size('hidden_size', limits.hiddenSize)
  const heads = size('num_attention_heads', limits.heads)
  const config: PolicyConfig = {
    architecture,
    vocabSize,
    hiddenSize,
    intermediateSize: size('intermediate_size', limits.intermediateSize),
    layers: size('num_hidden_layers', limits.layers),
    heads,
    kvHeads: orElse('num_key_value_heads', () => size('num_key_value_heads', limits.heads), heads),
    headDim: headDimOf(fields, architecture, hiddenSize, heads),
    rmsNormEps: orElse('rms_norm_eps', () => fields.number('rms_norm_eps', 0, 1), 1e-6),
    ...ropeOf(fields),
    maxPositions: orElse(
      'max_position_embeddings',
      () => size('max_position_embeddings', limits.maxPositions),
      architecture === 'llama' ? 2048 : 32768,
    ),
    tieWordEmbeddings: orElse('tie_word_embeddings', () => fields.boolean('tie_word_embeddings'), false),
    qkvBias: architecture === 'qwen2',
    qkNorm: architecture === 'qwen3',
    initializerRange: orElse('initializer_range', () => fields.number('initializer_range', 0, 10), 0.02),
    bosTokenId: tokenIds(fields, 'bos_token_id', vocabSize)[0] ?? null,
    padTokenId: tokenIds(fields, 'pad_token_id', vocabSize)[0] ?? null,
    eosTokenIds: Object.freeze(tokenIds(fields, 'eos_token_id', vocabSize)),
  }
  const problem = relationProblem(config)
  if (problem !== undefined) throw new ModelFileError(`${fields.source}: ${problem}`)
  return Object.freeze(config)
}

function architectureOf(fields: JsonFields): Architecture {
  const named = fields.object.get('architectures')
  const byType = fields.object.get('model_type')
  const className: unknown = Array.isArray(named) && named.length > 0 ? named[0] : undefined
  for (const architecture of ['qwen2', 'qwen3', 'llama'] as const) {
    const sameClass = className === undefined || className === classNames[architecture]
    const sameType = byType === undefined || byType === architecture
    if (sameClass && sameType && (className !== undefined || byType !== undefined)) return architecture
  }
  const wanted = typeof className === 'string' ? className : byType
  const bothNamed =
    typeof className === 'string' && typeof byType === 'string' ? ` (model_type ${byType})` : ''
  const shown = typeof wanted === 'string' ? wanted : describeValue(wanted)
  throw new ModelFileError(
    `${fields.source}: architecture ${shown}${bothNamed} not supported ` +
      `(have: ${Object.values(classNames).join(', ')})`,
    { details: { architecture: wanted } },
  )
}

function refuseUnsupported(fields: JsonFields, architecture: Architecture): void {
  const { object, source } = fields
  const refuse = (what: string): never => {
    throw new ModelFileError(`${source}: ${what}`)
  }
  if (fields.has('quantization_config')) {
    refuse('quantised weights are not supported; use the float32, bfloat16 or float16 weights of the model')
  }
  if (fields.has('hidden_act') && fields.string('hidden_act') !== 'silu') {
    refuse(`hidden_act ${describeValue(object.get('hidden_act'))} not supported (have: silu)`)
  }
  // In Qwen2 the key means nothing: its query, key and value projections always have biases.
  if (architecture !== 'qwen2' && fields.has('attention_bias') && fields.boolean('attention_bias')) {
    refuse('attention_bias true not supported: a bias on the output projection is not computed')
  }
  if (fields.has('mlp_bias') && fields.boolean('mlp_bias')) refuse('mlp_bias true not supported')
  if (fields.has('use_sliding_window') && fields.boolean('use_sliding_window')) {
    refuse('use_sliding_window true not supported: attention is over the whole sequence')
  }
  if (fields.has('layer_types')) {
    const types = object.get('layer_types')
    if (!Array.isArray(types)) fields.fail('layer_types', 'an array')
    const other = types.find(type => type !== 'full_attention')
    if (other !== undefined) refuse(`layer type ${describeValue(other)} not supported (have: full_attention)`)
  }
}

function headDimOf(
  fields: JsonFields,
  architecture: Architecture,
  hiddenSize: number,
  heads: number,
): number {
  if (fields.has('head_dim')) return fields.integer('head_dim', 1, limits.headDim)
  if (architecture === 'qwen3') return 128
  if (hiddenSize % heads !== 0) {
    throw new ModelFileError(
      `${fields.source}: hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}`,
    )
  }
  return hiddenSize / heads
}

// Two spellings: a `rope_parameters` block, or `rope_theta` with an optional `rope_scaling` block.
function ropeOf(fields: JsonFields): { ropeTheta: number; ropeScaling: RopeScaling | null } {
  const blocks = ['rope_parameters', 'rope_scaling']
    .filter(key => fields.has(key))
    .map(key => fields.fields(key))
  const thetas = [fields, ...blocks].filter(block => block.has('rope_theta'))
  const found = new Set(thetas.map(block => block.number('rope_theta', 0)))
  if (found.size > 1) {
    throw new ModelFileError(`${fields.source}: rope_theta is given twice, as ${[...found].join(' and ')}`)
  }
  let ropeScaling: RopeScaling | null = null
  for (const block of [fields, ...blocks]) {
    if (block.has('partial_rotary_factor') && block.number('partial_rotary_factor', 0) !== 1) {
      throw new ModelFileError(
        `${fields.source}: ${block.prefix}partial_rotary_factor other than 1 not supported`,
      )
    }
  }
  for (const block of blocks) ropeScaling = ropeScalingOf(block) ?? ropeScaling
  return { ropeTheta: found.values().next().value ?? 10000, ropeScaling }
}

function ropeScalingOf(block: JsonFields): RopeScaling | null {
  const key = ['rope_type', 'type'].find(name => block.has(name))
  const kind = key === undefined ? 'default' : block.string(key)
  if (kind === 'default') return null
  if (kind !== 'llama3') {
    throw new ModelFileError(
      `${block.source}: rope type ${describeValue(kind)} not supported (have: default, llama3)`,
      { details: { ropeType: kind } },
    )
  }
  return Object.freeze({
    kind: 'llama3',
    factor: block.number('factor', 0, 1e6),
    lowFreqFactor: block.number('low_freq_factor', 0, 1e6),
    highFreqFactor: block.number('high_freq_factor', 0, 1e6),
    originalMaxPositions: block.integer('original_max_position_embeddings', 1, limits.maxPositions),
  })
}

// A number, an array of numbers, or nothing. -1 stands for nothing in some older configurations.
function tokenIds(fields: JsonFields, key: string, vocabSize: number): number[] {
  if (!fields.has(key)) return []
  const value = fields.object.get(key)
  const ids: unknown[] = Array.isArray(value) ? value : [value]
  return ids
    .filter(id => id !== -1)
    .map(id => {
      const isId = typeof id === 'number' && Number.isSafeInteger(id) && id >= 0 && id < vocabSize
      if (!isId) fields.fail(key, `token ids from 0 to ${vocabSize - 1}`)
      return id as number
    })
}

/** The content of config.json. The older spelling of the rotary options is written: every reader knows it. */
export function toHuggingFace(
  config: PolicyConfig,
  dtype: 'float32' | 'bfloat16' | 'float16' = 'float32',
): Record<string, unknown> {
  const { ropeScaling, architecture } = config
  return {
    architectures: [classNames[architecture]],
    ...(architecture === 'qwen2' ? {} : { attention_bias: false }),
    attention_dropout: 0,
    bos_token_id: config.bosTokenId,
    eos_token_id: eosValue(config),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositions,
    ...(architecture === 'llama' ? { mlp_bias: false } : {}),
    model_type: architecture,
    num_attention_heads: config.heads,
    num_hidden_layers: config.layers,
    num_key_value_heads: config.kvHeads,
    pad_token_id: config.padTokenId,
    rms_norm_eps: config.rmsNormEps,
    rope_scaling:
      ropeScaling === null
        ? null
        : {
            factor: ropeScaling.factor,
            high_freq_factor: ropeScaling.highFreqFactor,
            low_freq_factor: ropeScaling.lowFreqFactor,
            original_max_position_embeddings: ropeScaling.originalMaxPositions,
            rope_type: 'llama3',
          },
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tieWordEmbeddings,
    torch_dtype: dtype,
    use_cache: true,
    ...(architecture === 'llama' ? {} : { use_sliding_window: false, sliding_window: null }),
    vocab_size: config.vocabSize,
  }
}

/** The content of generation_config.json. */
export function toGenerationConfig(config: PolicyConfig): Record<string, unknown> {
  return {
    bos_token_id: config.bosTokenId,
    eos_token_id: eosValue(config),
    pad_token_id: config.padTokenId,
  }
}

// One id is written as a number, as the model's own files have it.
function eosValue({ eosTokenIds }: PolicyConfig): number | readonly number[] | null {
  return eosTokenIds.length > 1 ? eosTokenIds : (eosTokenIds[0] ?? null)
}
