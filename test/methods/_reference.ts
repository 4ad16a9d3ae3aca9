// Checks trainStep under a method against the method's formula in float64: its loss, and its gradient along three
// directions against differences of the formula's loss. The formula gets log-probabilities and entropies, nothing else
// of the code under test.
import type { ExecutionContext } from 'ava'
import { type GroupMember, type Policy, Trainer, type TrainerOptions } from '../../lib/index.js'
import { randomTokens, tinyPolicies, withPolicy } from '../_helpers/policies.js'

/** One response as the formula sees it. Arrays are over its tokens. */
export interface Response {
  logProbs: number[]
  entropy: number[]
  /** At the parameters where the gradient is taken: what a formula detaches. */
  fixedLogProbs: number[]
  oldLogProbs: number[]
  demonstration: boolean
  reward: number
}

export interface MethodCase {
  options: TrainerOptions
  step?: number
  /** Rewards of each group's members, of which the last is a demonstration where `demonstrations`. */
  rewards: number[][]
  demonstrations: boolean
  /** The members that trainStep gets, where a method chooses or changes them. */
  members?: (members: GroupMember[]) => GroupMember[]
  loss: (groups: Response[][]) => number
}

export const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
export const mean = (values: readonly number[]) => sum(values) / values.length
export const sumOver = (responses: readonly Response[], token: (r: Response, t: number) => number) =>
  sum(responses.map(r => sum(r.logProbs.map((_, t) => token(r, t)))))
export const tokensOf = (responses: readonly Response[]) => sum(responses.map(r => r.logProbs.length))
export const ratio = (r: Response, t: number) => Math.exp(r.logProbs[t]! - r.oldLogProbs[t]!)
export const meanEntropy = (responses: readonly Response[]) =>
  sumOver(responses, (r, t) => r.entropy[t]!) / tokensOf(responses)
export const longestOf = (responses: readonly Response[]) =>
  Math.max(...responses.map(r => r.logProbs.length))
/** max(-A r, -A clip(r, 0.8, 1.2)) */
export const clipped = (advantage: number, r: number) =>
  Math.max(-advantage * r, -advantage * Math.min(1.2, Math.max(0.8, r)))

export function groupsOf(rewards: readonly number[][], demonstrations: boolean): GroupMember[][] {
  return rewards.map((group, g) => {
    const prompt = randomTokens(5 + g, 40 + g)
    return group.map((reward, m) => ({
      tokens: Int32Array.of(...prompt, ...randomTokens(3 + ((2 * m + g) % 5), 500 + 10 * g + m)),
      promptLength: prompt.length,
      offPolicy: demonstrations && m === group.length - 1,
      reward,
    }))
  })
}

/** Old log-probabilities near the current ones, so that ratios differ from 1 and some meet a clip of 0.2. */
async function withOld(policy: Policy, groups: GroupMember[][]): Promise<GroupMember[][]> {
  const scored = await policy.logProbs(groups.flat())
  let next = 0
  return groups.map(group =>
    group.map(member => {
      const now = scored[next++]!.logProbs
      const oldLogProbs = now.map((lp, t) => lp + [0.02, -0.5, 0.6, -0.03, 0.01][(t + next) % 5]!)
      return { ...member, oldLogProbs }
    }),
  )
}

export async function checkMethod(t: ExecutionContext, c: MethodCase): Promise<void> {
  await withPolicy(
    { ...tinyPolicies.qwen2, initializerRange: 0.15 },
    { threads: 2 },
    async (policy, device) => {
      const all = await withOld(policy, groupsOf(c.rewards, c.demonstrations))
      const fixed = (await policy.logProbs(all.flat())).map(({ logProbs }) => [...logProbs])
      const reference = async () => {
        const scored = await policy.logProbs(all.flat())
        let next = 0
        return c.loss(
          all.map(group =>
            group.map(({ oldLogProbs, reward, offPolicy }) => {
              const { logProbs, entropy } = scored[next]!
              return {
                logProbs: [...logProbs],
                entropy: [...entropy],
                fixedLogProbs: fixed[next++]!,
                oldLogProbs: [...oldLogProbs!],
                reward: reward!,
                demonstration: offPolicy as boolean,
              }
            }),
          ),
        )
      }
      await using trainer = await Trainer.create(policy, { ...c.options, optimizer: { learningRate: 0 } })
      const groups = all.map(members => ({ members: c.members?.(members) ?? members }))
      const { loss } = await trainer.trainStep(groups, c.step === undefined ? {} : { step: c.step })
      const wanted = await reference()
      t.true(Math.abs((loss as number) - wanted) < 1e-6 * Math.max(1, Math.abs(wanted)), `${loss} ${wanted}`)

      const { layout } = policy.model
      const gradient = new Float32Array(layout.size)
      for (const [name, { data }] of await trainer.gradients())
        gradient.set(data, layout.byName.get(name)!.offset)
      const start = await device.readFloat32(policy.model.values)
      const norm = (values: Float32Array) => Math.sqrt(values.reduce((total, x) => total + x * x, 0))
      for (let direction = 0; direction < 3; direction++) {
        const noise = Float32Array.from(randomTokens(start.length, 60 + direction, 2003), x => x / 1000 - 1)
        const [large, small] = [norm(gradient), norm(noise)]
        const unit = gradient.map((g, i) => g / large + noise[i]! / small)
        const slope = unit.reduce((total, u, i) => total + u * gradient[i]!, 0)
        const at = async (step: number) => {
          device.write(
            policy.model.values,
            start.map((x, i) => x + step * unit[i]!),
          )
          return await reference()
        }
        const h = 2e-3
        const [a, b, d, e] = [await at(-2 * h), await at(-h), await at(h), await at(2 * h)]
        const measured = (a - 8 * b + 8 * d - e) / (12 * h)
        t.true(Math.abs(measured / slope - 1) < 3e-3, `direction ${direction}: ${measured} ${slope}`)
        device.write(policy.model.values, start)
      }
    },
  )
}
