// group-advantages: the advantage of every member of every group. Contract: native/ops/group-advantages.h.
import type { Tensor } from '../tensor/tensor.js'
import { checkTensor } from '../tensor/tensor.js'

const baselines = { mean: 0, 'mean-std': 1, 'on-policy-mean': 2, 'on-policy-mean-std': 3 } as const
export type Baseline = keyof typeof baselines
export const baselineNames = Object.keys(baselines) as Baseline[]

export interface AdvantageSettings {
  baseline: Baseline
  /** Added to the standard deviation. */
  epsilon: number
  /** Advantages are limited to [-clip, clip]; 0 = off. */
  clip: number
  onPolicyWeight: number
  offPolicyWeight: number
}

/**
 * The advantage of one member alone in its group is its reward: mean 0, deviation 1 (the authors' code).
 *
 * rewards [N] float32, groups [N] int32, offPolicy [N] uint8 -> advantages [N].
 */
export function groupAdvantageTensor(
  rewards: Tensor,
  groups: Tensor,
  offPolicy: Tensor,
  settings: AdvantageSettings,
): Tensor {
  const n = rewards.rows
  checkTensor('group-advantages', 'rewards', rewards, 'float32', [-1])
  checkTensor('group-advantages', 'groups', groups, 'int32', [n])
  checkTensor('group-advantages', 'offPolicy', offPolicy, 'uint8', [n])
  const { device } = rewards
  const out = device.empty([n])
  device.ops.groupAdvantages(
    device.handle,
    rewards.handle,
    groups.handle,
    offPolicy.handle,
    { ...settings, baseline: baselines[settings.baseline] },
    out.handle,
  )
  return out
}
