// `luffy bench`: a short measurement of this machine. The developers' benchmark is `npm run bench`.
import { formatTable } from '../report/table.js'
import { formatCount } from '../report/text.js'
import { Policy } from '../sampler/policy.js'
import { Device } from '../tensor/device.js'
import { Trainer } from '../training/trainer.js'
import { print, tableStyle } from './terminal.js'

const rounds = 5
const sequences = 64
const promptLength = 16
const newTokens = 48
const vocabSize = 64

/** Two numbers that say what to expect here: tokens sampled and trained on per second, by a policy of 0.86 M parameters. */
export async function runBench(json: boolean): Promise<number> {
  await using device = await Device.open('auto')
  await using policy = await Policy.create(
    {
      vocabSize,
      hiddenSize: 128,
      intermediateSize: 384,
      layers: 4,
      heads: 4,
      kvHeads: 4,
      maxPositions: promptLength + newTokens,
      tieWordEmbeddings: true,
    },
    { device, seed: 0 },
  )
  await using trainer = await Trainer.create(policy, { method: 'luffy' })
  const prompts = Array.from({ length: sequences }, (_, i) =>
    Int32Array.from({ length: promptLength }, (_, j) => (7 * i + 3 * j) % vocabSize),
  )
  const seconds = { sample: [] as number[], trainStep: [] as number[] }
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round++) {
    const started = performance.now()
    const completions = await policy.sample(prompts, { maxTokens: newTokens, stopTokens: [], seed: round })
    const sampled = performance.now()
    const members = completions.map(({ promptIndex, tokens, logProbs }, i) => ({
      tokens: Int32Array.from([...(prompts[promptIndex] as Int32Array), ...tokens]),
      promptLength,
      offPolicy: i % 8 === 7,
      reward: i % 8 === 7 ? 1 : 0,
      oldLogProbs: logProbs,
    }))
    const groups = Array.from({ length: sequences / 8 }, (_, g) => ({
      members: members.slice(8 * g, 8 * g + 8),
    }))
    const built = performance.now()
    await trainer.trainStep(groups)
    if (round === 0) continue
    seconds.sample.push((sampled - started) / 1000)
    seconds.trainStep.push((performance.now() - built) / 1000)
  }
  const { isa, threads } = device.info()
  const results = [
    { what: 'sample', tokens: sequences * newTokens, seconds: seconds.sample },
    { what: 'trainStep', tokens: sequences * (promptLength + newTokens), seconds: seconds.trainStep },
  ].map(({ what, tokens, seconds }) => {
    const sorted = [...seconds].sort((a, b) => a - b)
    const median = sorted[Math.floor(rounds / 2)] as number
    return {
      what,
      tokens,
      medianSeconds: median,
      slowest: sorted.at(-1) as number,
      perSecond: tokens / median,
    }
  })
  if (json) {
    print(JSON.stringify({ isa, threads, parameters: policy.parameterCount, results }))
    return 0
  }
  print(
    `${formatCount(policy.parameterCount)} parameters, ${sequences} sequences, ${isa}, ${threads} threads`,
  )
  print(
    formatTable(
      ['case', 'tokens', 'median ms', 'slowest ms', 'tokens/s'],
      results.map(({ what, tokens, medianSeconds, slowest, perSecond }) => [
        what,
        String(tokens),
        (1000 * medianSeconds).toFixed(1),
        (1000 * slowest).toFixed(1),
        formatCount(perSecond),
      ]),
      { style: tableStyle() },
    ),
  )
  return 0
}
