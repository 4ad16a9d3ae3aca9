// What devices compute in: the dtype of activations and of the weights that they meet.
import { ConfigError } from '../errors.js'

export const computeDtypes = ['float32', 'bfloat16'] as const

/** What a policy's activations, and the weights that they meet, are in memory. */
export type ComputeDtype = (typeof computeDtypes)[number]

/** Of an element. */
export const computeBytes: Readonly<Record<ComputeDtype, number>> = { float32: 4, bfloat16: 2 }

/** `device`: its name, or its backend's. */
export function computesIn(device: string, dtype: ComputeDtype): boolean {
  return dtype === 'float32' || device !== 'cpu'
}

/** Throws ConfigError where the device does not compute in `dtype`. */
export function checkComputes(device: string, dtype: ComputeDtype): void {
  if (computesIn(device, dtype)) return
  throw new ConfigError(`dtype: the CPU computes in float32, got '${dtype}'`, {
    hint: "leave it out, or take a device that computes in bfloat16: 'cuda'",
  })
}
