// A group as callers give it: sequences that share a prompt and a baseline.

/** One sequence of a group. Arrays are over the tokens after the prompt. */
export interface GroupMember {
  /** Prompt and response, of which there is at least one token. */
  tokens: Int32Array
  /** At least 1. */
  promptLength: number
  /** True for a demonstration; or 1 per off-policy token (a demonstrated prefix that the policy continued). */
  offPolicy: boolean | Uint8Array
  /** Whether its off-policy tokens enter by cross-entropy. Default: as the method's `demonstrationTokens` says. */
  supervised?: boolean
  /** Factor on its loss, at least 0. Default 1. */
  weight?: number
  /** Needed unless `advantage` is given. */
  reward?: number
  /** Of the policy that sampled the tokens (completion.logProbs). Absent: the current ones, ratio 1. */
  oldLogProbs?: Float32Array
  /** Probabilities of the demonstrator. Absent: taken as 1. */
  teacherProbs?: Float32Array
  /** Of the reference policy; needed with klCoef. */
  refLogProbs?: Float32Array
  /** 0 where a token does not count. Default: all count. */
  mask?: Uint8Array
  /** Used as it is, for all tokens or per token; otherwise it comes from the group's rewards. */
  advantage?: number | Float32Array
}

export interface TrainGroup {
  members: readonly GroupMember[]
}
