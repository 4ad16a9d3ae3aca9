// The moments of AdamW as a file: optimizer.safetensors with two flat float32 tensors.
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { SafetensorsFile } from '../policy/safetensors-read.js'
import { writeSafetensors } from '../policy/safetensors-write.js'
import type { Device } from '../tensor/device.js'
import type { Tensor } from '../tensor/tensor.js'

export const optimizerFileName = 'optimizer.safetensors'

export interface Moments {
  firstMoment: Float32Array
  secondMoment: Float32Array
}

export async function saveOptimizer(
  folder: string,
  moments: { firstMoment: Tensor; secondMoment: Tensor },
  device: Device,
): Promise<void> {
  const entry = (name: keyof Moments) => ({
    name,
    dtype: 'F32' as const,
    shape: [moments[name].size],
    data: (start: number, count: number) => device.readRange(moments[name], start, count),
  })
  await writeSafetensors(join(folder, optimizerFileName), [entry('firstMoment'), entry('secondMoment')])
}

/** Throws CheckpointError unless both moments are there with `size` elements. */
export async function loadOptimizer(folder: string, size: number): Promise<Moments> {
  const path = join(folder, optimizerFileName)
  const file = await SafetensorsFile.open(path, { within: folder })
  try {
    const read = async (name: keyof Moments) => {
      const entry = file.tensors.get(name)
      if (
        entry === undefined ||
        entry.dtype !== 'F32' ||
        entry.shape.length !== 1 ||
        entry.shape[0] !== size
      ) {
        throw new CheckpointError(
          `${path}: expected ${name} with ${size} float32 elements, got ${entry ? `[${entry.shape}] ${entry.dtype}` : 'none'}`,
          { path, hint: 'the checkpoint belongs to another policy' },
        )
      }
      const data = new Float32Array(size)
      await file.readFloat32(name, data)
      return data
    }
    return { firstMoment: await read('firstMoment'), secondMoment: await read('secondMoment') }
  } finally {
    await file.close()
  }
}
