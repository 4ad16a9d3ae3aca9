// group-advantages: against float64, the corners that its contract names, and groups known by hand.
import test from 'ava'
import { type AdvantageSettings, groupAdvantageTensor } from '../../lib/ops/group-advantages.js'
import type { Device } from '../../lib/tensor/device.js'
import { cases } from '../_cases/group-advantages.js'
import { isClose, sameBits } from '../_helpers/compare.js'
import { failsOnStream, refusesArguments } from '../_helpers/failures.js'
import { useDevices } from '../_helpers/op-devices.js'
import { testCases } from '../_helpers/run-cases.js'

const devices = useDevices(test)

// Float32, as shares of the largest expected magnitude; measured over all instruction sets: beside each.
testCases(test, devices, cases, {
  advantages: 2e-7, // 5.6e-8
})

const plain: AdvantageSettings = {
  baseline: 'mean',
  epsilon: 1e-6,
  clip: 0,
  onPolicyWeight: 1,
  offPolicyWeight: 1,
}

function advantages(
  device: Device,
  rewards: number[],
  groups: number[],
  off: number[],
  settings: Partial<AdvantageSettings>,
) {
  const out = device.scope(() =>
    groupAdvantageTensor(
      device.float32(Float32Array.from(rewards)),
      device.int32(Int32Array.from(groups)),
      device.uint8(Uint8Array.from(off)),
      { ...plain, ...settings },
    ),
  )
  return device.readFloat32(out)
}

test('by hand: four rewards, a demonstration among them', async t => {
  const [rewards, groups, off] = [
    [1, 0, 0, 1],
    [7, 7, 7, 7],
    [0, 0, 0, 1],
  ]
  const expected: [Partial<AdvantageSettings>, number[]][] = [
    [{ baseline: 'mean' }, [0.5, -0.5, -0.5, 0.5]],
    [{ baseline: 'on-policy-mean' }, [2 / 3, -1 / 3, -1 / 3, 2 / 3]],
    [{ baseline: 'mean-std', epsilon: 0 }, [0.8660254, -0.8660254, -0.8660254, 0.8660254]],
    [{ baseline: 'on-policy-mean-std', epsilon: 0 }, [1.1547005, -0.57735026, -0.57735026, 1.1547005]],
    [{ baseline: 'mean', clip: 0.25, offPolicyWeight: 4 }, [0.25, -0.25, -0.25, 1]],
    [{ baseline: 'mean', onPolicyWeight: 0 }, [0, -0, -0, 0.5]],
  ]
  for (const { device, label } of devices.all) {
    for (const [settings, values] of expected) {
      const got = await advantages(device, rewards!, groups!, off!, settings)
      isClose(t, `${label}: ${JSON.stringify(settings)}`, got, values, 1e-6)
    }
  }
})

test('equal rewards give exactly 0; one counted member has mean 0 and deviation 1', async t => {
  const device = devices.best
  for (const baseline of ['mean', 'mean-std', 'on-policy-mean', 'on-policy-mean-std'] as const) {
    const equal = await advantages(device, [0.1, 0.1, 0.1], [1, 1, 1], [0, 0, 0], { baseline, epsilon: 0 })
    t.deepEqual(
      Array.from(equal, x => x + 0),
      [0, 0, 0],
      baseline,
    )
    const alone = await advantages(device, [0.5], [1], [0], { baseline, epsilon: 0 })
    t.deepEqual(Array.from(alone), [0.5], baseline)
  }
  const onlyOff = await advantages(device, [3, 5], [1, 1], [1, 1], {
    baseline: 'on-policy-mean-std',
    epsilon: 0,
  })
  t.deepEqual(Array.from(onlyOff), [3, 5])
})

test('the bits do not depend on the device, nor on which members stand beside a group', async t => {
  const rewards = Array.from({ length: 131 }, (_, i) => Math.fround(Math.sin(i * 1.7)))
  const groups = rewards.map((_, i) => ((i * i) % 5) - 2)
  const off = rewards.map((_, i) => Number(i % 4 === 0))
  const own = groups.flatMap((id, i) => (id === -1 ? [i] : []))
  t.true(own.length > 8 && own.length < 60)
  for (const baseline of ['mean-std', 'on-policy-mean-std'] as const) {
    let first: Float32Array | undefined
    for (const { device, label } of devices.all) {
      const whole = await advantages(device, rewards, groups, off, { baseline })
      const alone = await advantages(
        device,
        own.map(i => rewards[i]!),
        own.map(i => groups[i]!),
        own.map(i => off[i]!),
        { baseline },
      )
      const picked = Float32Array.from(own, i => whole[i]!)
      sameBits(t, `${label}: a group alone`, alone, picked)
      first ??= whole
      sameBits(t, `${label}, not as on the first device`, whole, first)
    }
  }
})

test('wrong arguments are refused by name', async t => {
  const device = devices.best
  const [rewards, groups, off] = [
    device.zeros([4]),
    device.zeros([4], 'int32'),
    device.uint8(new Uint8Array(4)),
  ]
  await refusesArguments(t, device, 'group-advantages', [
    ['rewards', () => groupAdvantageTensor(groups, groups, off, plain)],
    ['groups', () => groupAdvantageTensor(rewards, rewards, off, plain)],
    ['groups', () => groupAdvantageTensor(rewards, device.empty([3], 'int32'), off, plain)],
    ['offPolicy', () => groupAdvantageTensor(rewards, groups, groups, plain)],
  ])
})

test('a failed check of the kernel fails the stream', async t => {
  const run = (device: Device, settings: object) =>
    groupAdvantageTensor(device.zeros([2]), device.zeros([2], 'int32'), device.uint8(new Uint8Array(2)), {
      ...plain,
      ...settings,
    })
  await failsOnStream(t, 'group-advantages', [
    [/epsilon >= 0, got -1/, device => run(device, { epsilon: -1 })],
    [/clip >= 0, got -2/, device => run(device, { clip: -2 })],
    [
      /no baseline has number 4/,
      device => {
        const [rewards, groups, off, out] = [
          device.zeros([2]),
          device.zeros([2], 'int32'),
          device.uint8(new Uint8Array(2)),
          device.zeros([2]),
        ]
        const options = { baseline: 4, epsilon: 0, clip: 0, onPolicyWeight: 1, offPolicyWeight: 1 }
        device.ops.groupAdvantages(
          device.handle,
          rewards.handle,
          groups.handle,
          off.handle,
          options,
          out.handle,
        )
      },
    ],
  ])
})
