// Rotary frequencies: the plain ones, and Llama 3's, by its definition and by the values that follow from it.
import test from 'ava'
import { policyConfigFrom } from '../../lib/policy/hugging-face-config.js'
import { createRopeTable, inverseFrequencies } from '../../lib/policy/rope-table.js'
import { Device } from '../../lib/tensor/device.js'

const scaling = {
  kind: 'llama3',
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositions: 8192,
} as const
const config = (changes: object) =>
  policyConfigFrom({
    architecture: 'llama',
    vocabSize: 8,
    hiddenSize: 256,
    heads: 2,
    headDim: 128,
    ...changes,
  })

test('theta to the power of -2i/D', t => {
  const frequencies = inverseFrequencies(config({ ropeTheta: 10_000, headDim: 8 }))
  t.deepEqual(
    [...frequencies].map(x => Math.round(x * 1e9) / 1e9),
    [1, 0.1, 0.01, 0.001],
  )
})

test("Llama 3's scaling keeps short wavelengths, stretches long ones, and is continuous between", t => {
  const plain = inverseFrequencies(config({ ropeTheta: 500_000 }))
  const scaled = inverseFrequencies(config({ ropeTheta: 500_000, ropeScaling: scaling }))
  plain.forEach((frequency, i) => {
    const wavelength = (2 * Math.PI) / frequency
    const ratio = frequency / (scaled[i] as number)
    if (wavelength < 8192 / 4) t.is(ratio, 1)
    else if (wavelength > 8192) t.is(Math.round(ratio * 1e9) / 1e9, 8)
    else t.true(ratio > 1 && ratio < 8)
    if (i > 0) t.true((scaled[i] as number) < (scaled[i - 1] as number))
  })
})

test('the table holds cosines and sines of position times frequency, to float32', async t => {
  await using device = await Device.open('cpu', { threads: 1 })
  const given = config({ ropeTheta: 10_000, headDim: 16 })
  const { cosine, sine } = createRopeTable(device, given, 300)
  t.deepEqual(cosine.shape, [300, 8])
  const [cosines, sines] = [await device.readFloat32(cosine), await device.readFloat32(sine)]
  inverseFrequencies(given).forEach((frequency, i) => {
    for (const position of [0, 1, 17, 299]) {
      t.is(cosines[position * 8 + i], Math.fround(Math.cos(position * frequency)))
      t.is(sines[position * 8 + i], Math.fround(Math.sin(position * frequency)))
    }
  })
})
