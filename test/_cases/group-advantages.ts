// Cases of group-advantages: every baseline, groups that are interleaved, of one member, without on-policy members.
import { type Baseline, baselineNames } from '../../lib/ops/group-advantages.js'
import { dataOf, float32, int32, type OpCase, uint8 } from './case.js'

export interface AdvantageCaseOptions {
  baseline: Baseline
  n: number
  /** Members are dealt to this many groups at random. */
  groups: number
  epsilon?: number
  clip?: number
  onPolicyWeight?: number
  offPolicyWeight?: number
}

export function advantageCase(options: AdvantageCaseOptions): OpCase {
  const { baseline, n, groups, epsilon = 1e-6, clip = 0, onPolicyWeight = 1, offPolicyWeight = 1 } = options
  const marks = Object.entries({ epsilon, clip, onPolicyWeight, offPolicyWeight })
    .filter(([name]) => options[name as keyof AdvantageCaseOptions] !== undefined)
    .map(([name, value]) => `${name} ${value}`)
  return {
    name: [`${baseline}, ${n} in ${groups}`, ...marks].join(', '),
    flops: 8 * n,
    bytes: 13 * n,
    make: random => ({
      // Rewards of 0 and 1 make groups of equal rewards common; ids are spread over all of int32.
      rewards: float32(
        Array.from({ length: n }, (_, i) => (i % 3 === 0 ? random.normal() : random.integer(2))),
      ),
      groups: int32(Array.from({ length: n }, () => Math.imul(random.integer(groups), 0x9e3779b1))),
      offPolicy: uint8(Array.from({ length: n }, () => Number(random.chance(0.3)))),
    }),
    outputs: { advantages: { shape: [n] } },
    enqueue: ({ ops, handle }, { rewards, groups, offPolicy, advantages }) =>
      ops.groupAdvantages(
        handle,
        rewards!.handle,
        groups!.handle,
        offPolicy!.handle,
        { baseline: baselineNames.indexOf(baseline), epsilon, clip, onPolicyWeight, offPolicyWeight },
        advantages!.handle,
      ),
    reference(inputs) {
      const ids = dataOf(inputs, 'groups')
      const off = dataOf(inputs, 'offPolicy')
      const rewards = dataOf(inputs, 'rewards')
      const members = new Map<number, number[]>()
      for (let i = 0; i < n; i++) {
        const list = members.get(ids[i]!) ?? []
        if (!(baseline.startsWith('on-policy') && off[i])) list.push(rewards[i]!)
        members.set(ids[i]!, list)
      }
      const advantages = Float64Array.from({ length: n }, (_, i) => {
        const counted = members.get(ids[i]!)!
        const alone = counted.length < 2
        const mean = alone ? 0 : counted.reduce((a, b) => a + b, 0) / counted.length
        let std = 1
        if (!alone)
          std = Math.sqrt(counted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (counted.length - 1))
        if (baseline === 'on-policy-mean-std' && std === 0) std = 1
        let a = rewards[i]! - mean
        if (baseline.endsWith('std')) a = a === 0 ? 0 : a / (std + epsilon)
        if (clip > 0) a = Math.max(-clip, Math.min(clip, a))
        return a * (off[i] ? offPolicyWeight : onPolicyWeight)
      })
      return { advantages }
    },
  }
}

export const cases: readonly OpCase[] = baselineNames.flatMap(baseline => [
  advantageCase({ baseline, n: 0, groups: 1 }),
  advantageCase({ baseline, n: 1, groups: 1 }),
  advantageCase({ baseline, n: 3, groups: 1 }),
  advantageCase({ baseline, n: 17, groups: 17 }),
  advantageCase({ baseline, n: 123, groups: 16 }),
  advantageCase({ baseline, n: 123, groups: 40, clip: 0.5 }),
  advantageCase({ baseline, n: 123, groups: 40, onPolicyWeight: 0.25, offPolicyWeight: 3 }),
  advantageCase({ baseline, n: 131, groups: 16, epsilon: 0.5 }),
  advantageCase({ baseline, n: 1009, groups: 3 }),
  advantageCase({ baseline, n: 70_001, groups: 10_007 }),
])
