// Cosines and sines of rotary position embedding by position, computed in float64 and stored as float32.
import type { RopeTable } from '../ops/rope.js'
import type { Device } from '../tensor/device.js'
import type { PolicyConfig } from './config.js'

/** Rotation per position of each pair of a head, [D/2]: theta^(-2i/D), with Llama 3's change of the low frequencies. */
export function inverseFrequencies(config: PolicyConfig): Float64Array {
  const { headDim, ropeTheta, ropeScaling } = config
  const frequencies = Float64Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** ((-2 * i) / headDim))
  if (ropeScaling === null) return frequencies
  // Wavelengths beyond originalMaxPositions / lowFreqFactor are stretched by `factor`, those below
  // originalMaxPositions / highFreqFactor are kept, and in between the two are blended.
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = ropeScaling
  return frequencies.map(frequency => {
    const wavelength = (2 * Math.PI) / frequency
    if (wavelength > originalMaxPositions / lowFreqFactor) return frequency / factor
    if (wavelength < originalMaxPositions / highFreqFactor) return frequency
    const kept = (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
    return ((1 - kept) * frequency) / factor + kept * frequency
  })
}

/** Tables for positions [0, positions), on the device. */
export function createRopeTable(device: Device, config: PolicyConfig, positions: number): RopeTable {
  const frequencies = inverseFrequencies(config)
  const half = frequencies.length
  const cosine = new Float32Array(positions * half)
  const sine = new Float32Array(positions * half)
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * (frequencies[i] as number)
      cosine[position * half + i] = Math.cos(angle)
      sine[position * half + i] = Math.sin(angle)
    }
  }
  return device.keep({
    cosine: device.float32(cosine, [positions, half]),
    sine: device.float32(sine, [positions, half]),
  })
}
