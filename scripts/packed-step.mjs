// Run by .ci/run in an empty folder where the packed package is installed: one LUFFY update of a tiny policy, as a
// user's first program would do it.
import { Policy, Trainer } from 'luffy'

const policy = await Policy.create(
  { vocabSize: 64, hiddenSize: 32, intermediateSize: 64, layers: 2, heads: 2, kvHeads: 1, maxPositions: 64 },
  { device: 'cpu', seed: 0 },
)
const prompt = Int32Array.of(1, 2, 3, 4)
const samples = await policy.sample([prompt], { samplesPerPrompt: 3, maxTokens: 8, seed: 0 })
const trainer = await Trainer.create(policy, { method: 'luffy' })
const members = samples.map(({ tokens, logProbs }) => ({
  tokens: Int32Array.of(...prompt, ...tokens),
  promptLength: prompt.length,
  offPolicy: false,
  reward: 0,
  oldLogProbs: logProbs,
}))
const demonstration = Int32Array.of(...prompt, 5, 6, 7)
members.push({ tokens: demonstration, promptLength: prompt.length, offPolicy: true, reward: 1 })
const { loss, gradNorm } = await trainer.trainStep([{ members }])
await trainer.dispose()
await policy.dispose()
if (!Number.isFinite(loss) || !(gradNorm > 0)) throw new Error(`loss ${loss}, gradient norm ${gradNorm}`)
console.log(`one step: loss ${loss.toFixed(4)}, gradient norm ${gradNorm.toFixed(4)}`)
