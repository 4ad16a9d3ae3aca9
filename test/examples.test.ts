// The examples that people copy: the README's is the file in examples/, it is short, and it runs as printed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
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
