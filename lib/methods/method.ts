// A method as data: which members a group has, the baseline of their advantages, the objective of each kind of token.
import type { Objective } from '../ops/policy-objective.js'
import type { AdvantageOptions } from './losses.js'

export interface Method {
  name: string
  /** Of a prompt's group, whether the policy samples members and whether demonstrations are members. */
  onPolicy: boolean
  demonstrations: boolean
  /** How demonstration tokens enter the loss: as off-policy tokens with an advantage, or by cross-entropy. */
  demonstrationTokens: 'off-policy' | 'supervised'
  advantages: AdvantageOptions
  objective: Objective
}
