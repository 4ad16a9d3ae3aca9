// The examples that people copy: the README's is the file in examples/, it is short, and it runs as printed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { loadTrainConfig } from '../lib/cli/run-config.js'
import { packageRoot } from '../lib/native-loader.js'
import { runChild } from './_helpers/child.js'

const example = (name: string) => pathToFileURL(join(packageRoot, 'dist/examples', name))

test('the TypeScript example of the README is examples/train-step.ts', t => {
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
  const file = readFileSync(join(packageRoot, 'examples/train-step.ts'), 'utf8')
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(match => match[1])
  t.deepEqual(blocks, [file])
  t.true(file.split('\n').length <= 35)
})

test('the example of the README runs, and the policy takes the demonstrations up', async t => {
  const { code, stdout, stderr } = await runChild(example('train-step.js'), [])
  t.is(code, 0, stderr)
  const probabilities = [...stdout.matchAll(/probability of demonstrations ([\d.]+)/g)].map(match =>
    Number(match[1]),
  )
  t.is(probabilities.length, 20)
  t.true((probabilities.at(-1) ?? 0) > 2 * (probabilities[0] ?? 1), probabilities.join(' '))
})

test('a task of one’s own trains', async t => {
  const { code, stdout, stderr } = await runChild(example('custom-task.js'), ['4'])
  t.is(code, 0, stderr)
  t.regex(stdout, /^step 0: accuracy \{ 'held-out': 0\.\d+ \}/)
  t.regex(stdout, /4 steps, held out: \d+\.\d %\n$/)
})

test("the paper's recipe is a configuration, and says what the paper says", async t => {
  for (const size of ['7b', '1.5b']) {
    const path = join(packageRoot, `examples/luffy-qwen2.5-math-${size}.yaml`)
    const { config } = await loadTrainConfig(path)
    t.like(config, {
      ropeTheta: 40000,
      maxPositions: 16384,
      promptsPerStep: 128,
      promptsPerUpdate: 64,
      numGenerations: 8,
      demonstrationsPerPrompt: 1,
      maxCompletionLength: 8192,
      learningRate: 1e-6,
      lrSchedule: 'constant',
      maxSteps: 500,
      evalSteps: 10,
      method: 'luffy',
    })
    t.deepEqual(config.objective, {
      clip: false,
      shaping: { kind: 'regularized', gamma: 0.1 },
      reduction: { kind: 'constant' },
      entropyCoef: 0.01,
    })
    t.like(config.data, { reward: 'math', template: 'luffy', maxPromptLength: 1024 })
  }
})
