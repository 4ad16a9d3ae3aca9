// Packing: sequences laid end to end, without padding. Members of a group may share their prompt, which then stands
// once; their responses see its keys as a prefix.

import { checkObject, describeValue } from '../options.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'
import type { PackedBatch } from './transformer.js'

/** Token ids, the first `promptLength` of which are the prompt. */
export interface TokenSequence {
  tokens: Int32Array
  promptLength: number
}

/** Sequences of one prompt. `shared`: the prompt is the same in all and stands once in the batch. */
export interface PackedGroup {
  members: readonly TokenSequence[]
  shared: boolean
}

/** The arrays of a packed batch, before they go to the device. */
export interface PackedArrays {
  tokens: Int32Array
  positions: Int32Array
  /** [S * 4]: {start, length, prefixStart, prefixLength} */
  sequences: Int32Array
  /** [R]: for every response token of every member in order, the row that predicts it. */
  rows: Int32Array
  /** [R]: the response tokens themselves. */
  targets: Int32Array
}

/** Rows that a group takes in a batch. The last token of a response predicts nothing and is left out. */
export function packedLength(group: PackedGroup): number {
  const { members, shared } = group
  let total = 0
  for (const { tokens, promptLength } of members) {
    const response = Math.max(0, tokens.length - promptLength - 1)
    total += shared ? response : promptLength + response
  }
  return shared && members.length > 0 ? total + (members[0] as TokenSequence).promptLength : total
}

export function packGroups(groups: readonly PackedGroup[]): PackedArrays {
  const length = groups.reduce((sum, group) => sum + packedLength(group), 0)
  const all = groups.flatMap(group => group.members)
  const wanted = all.reduce(
    (sum, { tokens, promptLength }) => sum + Math.max(0, tokens.length - promptLength),
    0,
  )
  const tokens = new Int32Array(length)
  const positions = new Int32Array(length)
  const rows = new Int32Array(wanted)
  const targets = new Int32Array(wanted)
  const sequences: number[] = []
  let end = 0
  let row = 0

  // Lays tokens [from, to) of a sequence down at `end`, and returns where they start.
  const lay = (source: Int32Array, from: number, to: number): number => {
    const start = end
    tokens.set(source.subarray(from, to), start)
    for (let position = from; position < to; position++) positions[end++] = position
    return start
  }
  const ask = (sequence: TokenSequence, rowOf: (position: number) => number) => {
    for (let position = sequence.promptLength; position < sequence.tokens.length; position++) {
      rows[row] = rowOf(position - 1)
      targets[row++] = sequence.tokens[position] as number
    }
  }

  for (const { members, shared } of groups) {
    const first = members[0]
    if (first === undefined) continue
    if (!shared || members.length === 1) {
      for (const member of members) {
        const start = lay(member.tokens, 0, Math.max(member.promptLength, member.tokens.length - 1))
        sequences.push(start, end - start, 0, 0)
        ask(member, position => start + position)
      }
      continue
    }
    const { promptLength } = first
    const prompt = lay(first.tokens, 0, promptLength)
    sequences.push(prompt, promptLength, 0, 0)
    for (const member of members) {
      const start = lay(member.tokens, promptLength, Math.max(promptLength, member.tokens.length - 1))
      if (end > start) sequences.push(start, end - start, prompt, promptLength)
      ask(member, position => (position < promptLength ? prompt + position : start + position - promptLength))
    }
  }
  return { tokens, positions, sequences: Int32Array.from(sequences), rows, targets }
}

/** The batch on the device, owned by the innermost scope. */
export function uploadPacked(device: Device, arrays: PackedArrays): PackedBatch & { targets: Tensor } {
  return {
    tokens: device.int32(arrays.tokens),
    positions: device.int32(arrays.positions),
    sequences: device.int32(arrays.sequences, [arrays.sequences.length / 4, 4]),
    rows: device.int32(arrays.rows),
    targets: device.int32(arrays.targets),
  }
}

/** Throws unless every id is in the vocabulary; the message names the place. */
export function checkTokens(tokens: unknown, name: string, vocabSize: number): Int32Array {
  if (!(tokens instanceof Int32Array)) {
    throw new TypeError(`${name}: expected an Int32Array of token ids, got ${describeValue(tokens)}`)
  }
  for (let i = 0; i < tokens.length; i++) {
    const id = tokens[i] as number
    if (id < 0 || id >= vocabSize) {
      throw new RangeError(`${name}[${i}]: expected a token id from 0 to ${vocabSize - 1}, got ${id}`)
    }
  }
  return tokens
}

/** Checks a sequence of tokens with its prompt: ids, lengths, the longest position of the policy. */
export function checkSequence(
  sequence: unknown,
  name: string,
  limits: { vocabSize: number; maxPositions: number },
): TokenSequence {
  const given = checkObject(sequence, name, '{ tokens, promptLength }')
  const tokens = checkTokens(given.tokens, `${name}.tokens`, limits.vocabSize)
  const { promptLength } = given
  if (
    typeof promptLength !== 'number' ||
    !Number.isSafeInteger(promptLength) ||
    promptLength < 1 ||
    promptLength > tokens.length
  ) {
    throw new RangeError(
      `${name}.promptLength: expected an integer from 1 to the ${tokens.length} tokens, got ${describeValue(promptLength)}`,
    )
  }
  if (tokens.length > limits.maxPositions) {
    throw new RangeError(
      `${name}.tokens: ${tokens.length} tokens are more than the policy's ${limits.maxPositions} positions`,
    )
  }
  return { tokens: tokens.slice(), promptLength }
}
