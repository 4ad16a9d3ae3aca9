// Tiny policies of each architecture, with weights large enough that their distributions are far from flat.
import { Device, type DeviceOptions, Policy, type PolicyOptions } from '../../lib/index.js'
import { native } from '../../lib/native.js'

const common = {
  vocabSize: 97,
  hiddenSize: 48,
  intermediateSize: 80,
  layers: 2,
  maxPositions: 256,
  initializerRange: 0.25,
  eosTokenIds: 2,
}

export const tinyPolicies = {
  qwen2: { ...common, architecture: 'qwen2', heads: 4, kvHeads: 2, headDim: 12, tieWordEmbeddings: true },
  qwen3: { ...common, architecture: 'qwen3', heads: 2, kvHeads: 1, headDim: 32, tieWordEmbeddings: false },
  llama: {
    ...common,
    architecture: 'llama',
    heads: 3,
    kvHeads: 3,
    headDim: 16,
    tieWordEmbeddings: false,
    ropeScaling: {
      kind: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 64,
    },
  },
} as const satisfies Record<string, PolicyOptions>

export type TinyName = keyof typeof tinyPolicies
export const tinyNames = Object.keys(tinyPolicies) as TinyName[]

/** The instruction sets that this machine's kernels can run. */
export const isas = native().systemInfo().isas.split(/[ ,]+/).filter(Boolean) as NonNullable<
  DeviceOptions['isa']
>[]

/** Runs `body` with a policy on a device of its own. */
export async function withPolicy<Result>(
  config: PolicyOptions,
  options: DeviceOptions,
  body: (policy: Policy, device: Device) => Promise<Result>,
): Promise<Result> {
  await using device = await Device.open('cpu', options)
  await using policy = await Policy.create(config, { device, seed: 7 })
  return await body(policy, device)
}

/** Token ids from a small generator: the same for the same seed. */
export function randomTokens(length: number, seed: number, vocabSize = common.vocabSize): Int32Array {
  let state = (seed * 2654435761 + 12345) >>> 0
  return Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return 3 + ((state >>> 8) % (vocabSize - 3))
  })
}

/** The bits of float32 values, so that a comparison sees every difference. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.slice().buffer)
}
