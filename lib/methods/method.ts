// A method as data: which members a group has, the baseline of their advantages, the objective of each kind of token; and
// a few functions for what depends on the step, or on the rewards of a group. The loop knows no single method.
import type { Objective } from '../ops/policy-objective.js'
import type { GroupMember } from './group.js'
import type { AdvantageOptions } from './losses.js'
import type { MethodMemory } from './memory.js'
import type { MethodNumbers, MethodOption } from './options.js'

export interface Method {
  name: string
  /** Of a prompt's group, whether the policy samples members and whether demonstrations are members. */
  onPolicy: boolean
  demonstrations: boolean
  /** How demonstration tokens enter the loss: as off-policy tokens with an advantage, or by cross-entropy. */
  demonstrationTokens: 'off-policy' | 'supervised'
  advantages: AdvantageOptions
  objective: Objective
  /** One line for `luffy methods`: what is minimized per token, and the paper. */
  minimizes?: string
  source?: string
  /** Numbers of its own, with their defaults: `methodOptions` of a configuration. */
  options?: Readonly<Record<string, MethodOption>>
  /** What is different at a step of the run, the first being 1. A function of its arguments alone. */
  at?: (step: number, options: MethodNumbers) => MethodChange
  /**
   * Which members of a group are trained on, once their rewards are known; they may be changed copies. A function of its
   * arguments alone.
   */
  choose?: (members: readonly RatedMember[], options: MethodNumbers) => readonly RatedMember[]
  /** What it keeps from step to step, empty at first: one for each run. */
  memory?: (options: MethodNumbers) => MethodMemory
}

/** A member of a step's group, with where it comes from. The reward is missing where none could be given. */
export interface RatedMember extends GroupMember {
  source: 'sample' | 'demonstration' | 'prefix' | 'replay'
  /** Of what the policy sampled: cut at the length limit. */
  truncated?: boolean
}

/** How a step differs from the method's data. */
export interface MethodChange {
  /** Another method's data for this step; what a configuration says of objective and advantages is not for it. */
  as?: Method
  /** Parts of the objective, over the method's; what a configuration says comes over both. */
  objective?: Objective
  /** Share of a demonstration that is given and continued by the policy, from 0 to 1; in place of the configuration's. */
  prefix?: number
  /** In place of the configuration's learning rate and schedule. */
  learningRate?: number
  /** Steps before the configuration's learning-rate schedule begins. */
  scheduleStart?: number
  /** All groups of the step in one update, whatever promptsPerUpdate is. */
  oneUpdate?: boolean
  /** The optimizer forgets its moments before this step. */
  freshOptimizer?: boolean
}
