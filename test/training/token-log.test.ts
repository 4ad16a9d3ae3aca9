// What a step logs of its tokens: the histogram of p / (p + gamma), the texts, and the bounds.
import test from 'ava'
import { opChainsTokenizer } from '../../lib/data/op-chains/index.js'
import { Policy, Trainer } from '../../lib/index.js'
import { StreamingDecoder } from '../../lib/policy/tokenizer-hugging-face.js'
import type { Tokenizer } from '../../lib/policy/tokenizer-simple.js'
import { rowsToLog, tokenPieces } from '../../lib/training/completion-log.js'
import type { CompletionRow } from '../../lib/training/run-folder.js'
import { addedHistograms, TokenLog, weightBins } from '../../lib/training/token-log.js'

const config = {
  vocabSize: 32,
  hiddenSize: 32,
  intermediateSize: 48,
  layers: 1,
  heads: 2,
  kvHeads: 1,
  maxPositions: 64,
  initializerRange: 0.3,
}

test('an update tells the log-probabilities of demonstrations, and their histogram, whatever the micro-batches', async t => {
  const member = (first: number, length: number, offPolicy: boolean) => ({
    tokens: Int32Array.from({ length: 3 + length }, (_, i) => (first + 7 * i) % 32),
    promptLength: 3,
    offPolicy,
    reward: offPolicy ? 1 : 0,
  })
  const groups = [
    { members: [member(1, 5, false), member(2, 9, true)] },
    { members: [member(3, 4, true), member(4, 6, false), member(5, 1, true)] },
  ]
  for (const maxTokensPerMicroBatch of [12, 1000]) {
    await using policy = await Policy.create(config, { device: 'cpu', seed: 5 })
    await using trainer = await Trainer.create(policy, { method: 'luffy', maxTokensPerMicroBatch })
    // Of the policy before its update, by another path: the forward pass alone.
    const flat = groups.flatMap(group => group.members)
    const expected = await policy.logProbs(flat.map(({ tokens, promptLength }) => ({ tokens, promptLength })))
    const told = new Map<number, Float32Array>()
    const { demonstrationWeights } = await trainer.trainStep(groups, {
      onDemonstration: (index, logProbs) => told.set(index, logProbs),
    })
    t.deepEqual([...told.keys()], [1, 2, 4])
    const counts = new Array<number>(weightBins).fill(0)
    for (const [index, logProbs] of told) {
      const own = expected[index]?.logProbs as Float32Array
      t.is(logProbs.length, (flat[index]?.tokens.length ?? 0) - 3)
      logProbs.forEach((value, i) => {
        t.true(Math.abs(value - (own[i] as number)) < 1e-5, `${index} ${i}: ${value} ${own[i]}`)
        const p = Math.exp(value)
        counts[Math.floor((p / (p + 0.1)) * weightBins)]! += 1
      })
    }
    t.deepEqual(demonstrationWeights, counts)
    t.is(
      counts.reduce((sum, count) => sum + count, 0),
      14,
    )
  }
})

test('masked tokens, samples and numbers that are not finite are in no bin; p = 1 is in the last one', async t => {
  const log = new TokenLog(1e-9)
  const member = (kinds: number[], isDemonstration: boolean) =>
    ({ kinds: Uint8Array.from(kinds), isDemonstration }) as never
  log.add(
    [member([1, 1], false), member([0, 2, 2, 3], true)],
    Promise.resolve(Float32Array.of(0, 0, 0, 0, Number.NaN, -100)),
  )
  const { histogram } = await log.read()
  t.is(histogram?.[weightBins - 1], 1) // p = 1
  t.is(histogram?.[0], 1) // p = e^-100
  t.is(
    histogram?.reduce((sum, count) => sum + count, 0),
    2,
  )
  t.is((await new TokenLog(0.1).read()).histogram, undefined)
  t.deepEqual(
    addedHistograms([
      [1, 2],
      [3, 4],
    ]),
    [4, 6],
  )
  t.is(addedHistograms([]), undefined)
})

test('pieces are the texts of the tokens; a character of several tokens stands at its last one', t => {
  const tokenizer = opChainsTokenizer()
  t.deepEqual(tokenPieces([...tokenizer.encode('<p7294;$')], tokenizer), [...'<p7294;$'])
  // Bytes as tokens: é is two of them, and the last one stands alone.
  const bytes = [...Buffer.from('aé!'), 0xc3]
  const byteTokenizer = {
    stream: () => new StreamingDecoder({ tokenBytes: id => Uint8Array.of(id) }),
  } as unknown as Tokenizer
  t.deepEqual(tokenPieces(bytes, byteTokenizer), ['a', '', 'é', '!', '\ufffd'])
  t.deepEqual(tokenPieces([], byteTokenizer), [])
})

test('whole groups are logged as long as they fit, without holding the event loop', async t => {
  const tokenizer = opChainsTokenizer()
  const row = (group: number, length: number): CompletionRow => ({
    prompt: 'p',
    completion: 'c',
    reward: 1,
    group,
    source: 'on',
    advantage: 0,
    finishReason: 'stop',
    tokens: new Array<number>(length).fill(3),
    logProbs: new Array<number>(length).fill(-0.123456789),
  })
  const rows = [0, 1, 2].flatMap(group => [row(group, 30_000), row(group, 25_000)])
  let turns = 0
  let running = true
  const count = () => {
    turns += 1
    if (running) setImmediate(count)
  }
  setImmediate(count)
  const { rows: logged, leftOut } = await rowsToLog(rows, tokenizer)
  running = false
  t.deepEqual([logged.length, leftOut], [4, 2])
  t.true(turns >= 3, `${turns} turns`)
  t.is(logged[0]?.logProbs?.[0], -0.123457)
  t.is(logged[0]?.pieces?.length, 30_000)
  t.is(rows[0]?.pieces, undefined)
  // The first group comes whatever its size.
  t.deepEqual((await rowsToLog([row(0, 200_000), row(1, 1)], tokenizer)).leftOut, 1)
})
