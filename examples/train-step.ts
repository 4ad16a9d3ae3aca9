import { opChainsTask, Policy, Trainer } from 'luffy'

const { tokenizer, training } = opChainsTask({ seed: 0 })
await using policy = await Policy.create(
  { vocabSize: tokenizer.vocabSize, hiddenSize: 64, intermediateSize: 192, layers: 2, heads: 2, kvHeads: 2 },
  { device: 'auto', seed: 0 },
)
await using trainer = await Trainer.create(policy, { method: 'luffy', optimizer: { learningRate: 2e-3 } })

for (let step = 1; step <= 20; step++) {
  const items = training.slice(8 * (step - 1), 8 * step)
  const prompts = items.map(item => tokenizer.encode(item.prompt))
  const completions = await policy.sample(prompts, { samplesPerPrompt: 7, maxTokens: 64, seed: 0, step })
  const groups = items.map(({ answer, demonstration = '' }, i) => {
    const prompt = prompts[i] ?? []
    const member = (response: Int32Array) => ({
      tokens: Int32Array.of(...prompt, ...response),
      promptLength: prompt.length,
      reward: tokenizer.decode(response).endsWith(`>${answer}$`) ? 1 : 0,
    })
    const samples = completions
      .filter(completion => completion.promptIndex === i)
      .map(({ tokens, logProbs }) => ({ ...member(tokens), offPolicy: false, oldLogProbs: logProbs }))
    return { members: [...samples, { ...member(tokenizer.encode(demonstration)), offPolicy: true }] }
  })
  const { reward = 0, entropy = 0, offPolicyProbability = 0 } = await trainer.trainStep(groups)
  console.log(
    step,
    `reward of samples ${reward.toFixed(2)}, entropy ${entropy.toFixed(2)}, probability of demonstrations ${offPolicyProbability.toFixed(3)}`,
  )
}
