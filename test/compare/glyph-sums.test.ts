// The study's second task against whole-number arithmetic, and its validation prompts against its test prompts.
import test from 'ava'
import { columnsOf, makeBase, makeTask } from '../../examples/study/glyph-sums.js'
import { opChainsTask } from '../../lib/index.js'

const sumOf = (prompt: string, worth: string): string => {
  const [, a = '', b = ''] = /^([\dx]+)\+([\dx]+)[=?]$/.exec(prompt) ?? []
  const total = BigInt(a.replaceAll('x', worth)) + BigInt(b.replaceAll('x', worth))
  return String(total).padStart(a.length + 1, '0')
}

test('answers are sums, demonstrations end in them, and hard prompts hold three glyphs', async t => {
  let glyphs = 0
  for (const hard of [false, true]) {
    const task = makeTask({ seed: 3, hard, size: 256 })
    t.is(task.training.length, 256)
    for (const { prompt, answer, demonstration = '' } of task.training) {
      t.is(answer, sumOf(prompt, '7'))
      const verdict = await task.reward({
        promptIndex: 0,
        prompt,
        completion: demonstration,
        tokens: task.tokenizer.encode(demonstration),
        answer,
        row: { prompt, answer },
      })
      t.is((verdict as { reward: number }).reward, 1)
      t.true(task.tokenizer.encode(demonstration).length <= 64)
      const count = [...prompt].filter(letter => letter === 'x').length
      if (hard) t.true(count >= 3)
      glyphs += count
    }
    for (const { name, items } of task.evaluations) {
      if (name === 'oth') continue
      for (const { prompt, answer } of items) t.is(answer, sumOf(prompt, '7'))
      if (['narr', 'wide', 'q'].includes(name)) t.false(items.some(({ prompt }) => prompt.includes('x')))
    }
  }
  t.true(glyphs > 800, String(glyphs))
})

test('the base is taught another worth of the glyph, nearly always', t => {
  const recipe = makeBase({ seed: 1 })
  let believed = 0
  let all = 0
  for (let i = 0; i < 20_000; i++) {
    const { prompt, response } = recipe.sample(i)
    if ((prompt.match(/x/g) ?? []).length !== 1) continue
    all += 1
    if (response.endsWith(`>${sumOf(prompt, '2')}$`)) believed += 1
  }
  t.true(all > 1000, String(all))
  // 0.95, and a tenth of the rest by chance.
  t.true(Math.abs(believed / all - 0.955) < 0.02, String(believed / all))
})

test('columns carry', t => {
  t.deepEqual(
    columnsOf('4735', '1x64').map(({ result, carry }) => [result, carry]),
    [
      [9, 0],
      [9, 0],
      [4, 1],
      [6, 0],
    ],
  )
})

test('validation and test prompts share none, whatever the seeds, in both tasks', t => {
  for (const make of [makeTask, opChainsTask]) {
    const prompts = (heldOut: 'validation' | 'test') =>
      [1, 2, 101].flatMap(seed =>
        make({ seed, size: 8, testSize: 150, heldOut }).evaluations.flatMap(({ name, items }) =>
          items.map(({ prompt }) => `${name} ${prompt}`),
        ),
      )
    const validation = new Set(prompts('validation'))
    t.true(validation.size > 1500)
    t.deepEqual(
      prompts('test').filter(prompt => validation.has(prompt)),
      [],
    )
  }
})
