// The report of run folders that are whole, empty, torn, foreign and huge: a page every time, and what was left out said.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { CheckpointError } from '../../lib/errors.js'
import { outcomeOf } from '../../lib/report/html/read-completions.js'
import type { ReportOptions } from '../../lib/report/html/report-data.js'
import { writeReport } from '../../lib/report/html/write-report.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { completion, hostile, metricsRow, writeRun } from './_runs.js'

async function pageOf(options: ReportOptions) {
  const result = await writeReport(options)
  return { ...result, html: await readFile(result.file, 'utf8') }
}

/** What the page embeds of completions. */
function embedded(
  html: string,
): { name: string; of: number; steps: { step: number; of: number; groups: unknown[] }[] }[] {
  const text = /<script type="application\/json" id="completions-data">(.*?)<\/script>/.exec(html)?.[1]
  return text === undefined ? [] : JSON.parse(text)
}

/** The points of the first line of a figure. */
function lineOf(html: string, figure: string): [number, number][] {
  const path = new RegExp(`id="${figure}".*?<path class="line[^"]*" d="([^"]*)"`, 's').exec(html)?.[1] ?? ''
  return [...path.matchAll(/[ML](\S+) ([^ML]+)/g)].map(match => [Number(match[1]), Number(match[2])])
}

test('a run has its page, in its folder, and its pictures where they are wanted', async t => {
  const folder = await temporaryFolder(t)
  await writeRun(folder, { steps: 40, completions: { 3: [completion(0, 'text')] } })
  const { file, html, pictures, notices, bytes } = await pageOf({
    runs: [{ folder }],
    svg: join(folder, 'pictures'),
  })
  t.is(file, join(folder, 'report.html'))
  t.is(bytes, Buffer.byteLength(html))
  t.deepEqual(notices, [])
  const sections = [...html.matchAll(/<section class="figure" id="([^"]+)">/g)].map(match => match[1])
  t.deepEqual(sections, [
    'accuracy',
    'reward',
    'entropy',
    'probability',
    'weights',
    'groups',
    'accuracy-over-steps',
    'length',
    'speed',
    'phases',
    'gradient',
    'completions',
  ])
  t.regex(html, /Solved of hard: luffy 0\.0 % → 100\.0 %\./)
  t.is(pictures.length, (html.match(/<svg class="chart"/g) ?? []).length)
  for (const picture of pictures) t.regex(await readFile(picture, 'utf8'), /^<svg xmlns=.*<\/svg>\n$/s)
  t.notRegex(html, /https?:\/\/(?!www\.w3\.org)/)
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)?.[1] ?? ''
  t.deepEqual(
    policy.split('; ').map(rule => rule.replace(/'sha256-[^']+'/, 'hash')),
    ["default-src 'none'", 'style-src hash', 'script-src hash', "base-uri 'none'", "form-action 'none'"],
  )
})

test('a group is solved by right answers, not by parts of one; the histogram says its own constant', async t => {
  t.is(outcomeOf([0.5, 0.9].map(reward => ({ demonstration: false, reward }))), 'unsolved')
  t.is(outcomeOf([0.5, 1].map(reward => ({ demonstration: false, reward }))), 'mixed')
  const folder = await temporaryFolder(t)
  await writeRun(folder, { steps: 3 })
  const config = await readFile(join(folder, 'config.yaml'), 'utf8')
  await writeFile(join(folder, 'config.yaml'), config.replace('"gamma":0.1', '"gamma":0.3'))
  t.regex((await pageOf({ runs: [{ folder }] })).html, /γ = 0\.3;/)
})

test('runs of a method with other seeds are one line with a band; the same seed twice is two lines', async t => {
  const root = await temporaryFolder(t)
  const runs = ['a', 'b', 'c'].map((name, seed) => ({ folder: join(root, name), seed }))
  for (const { folder, seed } of runs) await writeRun(folder, { steps: 50, seed })
  const { html } = await pageOf({ runs, out: join(root, 'seeds.html') })
  t.regex(html, /<td>3<\/td><td>50<\/td>/)
  const reward = /id="reward".*?<\/section>/s.exec(html)?.[0] ?? ''
  t.is((reward.match(/class="line /g) ?? []).length, 1)
  t.is((reward.match(/class="band /g) ?? []).length, 1)
  // Step 30: the mean of three logistic curves, on a plot from y 190 (0) to 12 (1).
  const mean = [0, 1, 2].reduce((sum, seed) => sum + (metricsRow(30, seed).reward as number) / 3, 0)
  const at = lineOf(html, 'reward')[29]
  t.true(Math.abs((at?.[1] ?? 0) - (190 - mean * 178)) < 0.1, `${at}`)

  const twice = await pageOf({ runs: runs.map(run => ({ ...run, seed: 7 })), out: join(root, 'twice.html') })
  t.is((/id="reward".*?<\/section>/s.exec(twice.html)?.[0].match(/class="line s/g) ?? []).length, 6) // with their signs
})

test('given accuracies stand with their errors in place of the logged ones', async t => {
  const folder = await temporaryFolder(t)
  await writeRun(folder, { steps: 5 })
  const { html } = await pageOf({
    runs: [{ folder, method: 'luffy' }],
    accuracies: [
      { method: 'luffy', set: 'hard', mean: 0.975, standardError: 0.004, runs: 5 },
      { method: 'base', set: 'hard', mean: 0.25 },
    ],
    accuracyNote: 'five seeds',
  })
  const figure = /id="accuracy".*?<\/section>/s.exec(html)?.[0] ?? ''
  t.regex(figure, /97\.5 ± 0\.4/)
  t.regex(figure, /base.*25\.0/s)
  t.regex(figure, /five seeds/)
  t.regex(html, /Solved of hard: luffy 0\.0 % → 97\.5 %, base 25\.0 %\./)
  t.regex(/<table>.*?<\/table>/s.exec(html)?.[0] ?? '', />97\.5 ± 0\.4</)
  await t.throwsAsync(writeReport({ runs: [] }), {
    instanceOf: RangeError,
    message: /runs: expected at least one/,
  })
  await t.throwsAsync(writeReport({ runs: [{ folder }], accuracies: [{} as never] }), {
    instanceOf: TypeError,
  })
})

test('a folder that is none, or no run, is refused', async t => {
  const folder = await temporaryFolder(t)
  await t.throwsAsync(writeReport({ runs: [{ folder: join(folder, 'none') }] }), {
    instanceOf: CheckpointError,
    message: /none: no such folder/,
  })
  await t.throwsAsync(writeReport({ runs: [{ folder }] }), {
    instanceOf: CheckpointError,
    message: /found neither config.yaml nor metrics.jsonl/,
  })
})

test('no steps, one step, and a run without a log give a page', async t => {
  const root = await temporaryFolder(t)
  await writeRun(join(root, 'none'), { steps: 0 })
  await writeRun(join(root, 'one'), { steps: 1 })
  await mkdir(join(root, 'bare'))
  await writeFile(join(root, 'bare/config.yaml'), 'method: grpo\n')
  for (const name of ['none', 'one', 'bare']) {
    const { html } = await pageOf({ runs: [{ folder: join(root, name) }] })
    t.notRegex(html, /NaN|Infinity|undefined/, name)
    t.regex(html, /id="completions"/)
  }
  const { html } = await pageOf({ runs: [{ folder: join(root, 'bare') }] })
  t.regex(html, /Nothing was recorded yet/)
})

test('lines that are torn, foreign or too long are counted and left out; null and 1e999 are gaps', async t => {
  const folder = await temporaryFolder(t)
  await writeRun(folder, { steps: 9 })
  const path = join(folder, 'metrics.jsonl')
  const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
  lines[4] = '{"step":4,"reward":null,"entropy":1e999}'
  lines.splice(3, 0, '[1,2]', '"text"', '{"step":-1}', '{"step":1.5}', '{"step":"5"}', '{', '\0\0\0')
  lines.push('{"step":8,"reward":0.125}') // written again by a run that resumed: the later row counts
  // Their distance is no number.
  lines.push('{"step":5,"grad_norm":1e308}', '{"step":6,"grad_norm":-1e308}')
  lines.push(`{"step":10,"x":"${'y'.repeat(1.5 * 2 ** 20)}"}`)
  lines.push(
    '{"__proto__":{"polluted":1},"step":11,"constructor":2,"reward":0.5,"luffy/off_weight_histogram":[-1,"x"]}',
  )
  lines.push('{"step":2,"reward":0.5}') // the last line is not the last step
  lines.push('{"step":12,"rew') // torn
  await writeFile(path, lines.join('\n'))
  const { html, notices } = await pageOf({ runs: [{ folder }] })
  t.deepEqual(
    notices.map(notice => notice.replace(folder, 'run')),
    [
      'run/metrics.jsonl: 4 lines left out: no JSON, torn or too long',
      'run: 5 lines of metrics.jsonl left out: no step',
    ],
  )
  t.regex(html, /Left out.*4 lines left out/s)
  t.regex(html, /, 11 steps</)
  t.notRegex(html, /NaN|Infinity/)
  const reward = lineOf(html, 'reward')
  t.is(reward.length, 9) // steps 1 to 9 without 4, and 11
  t.true(Math.abs((reward[6]?.[1] ?? 0) - (190 - 0.125 * 178)) < 0.1)
  t.is(({} as Record<string, unknown>).polluted, undefined)
})

test('10,000 steps: seconds, a few hundred points, and the extremes among them', async t => {
  const folder = await temporaryFolder(t)
  const row = (step: number) => (step === 7777 ? { reward: 1.9 } : step === 3333 ? { reward: -0.9 } : {})
  await writeRun(folder, {
    steps: 10_000,
    row,
    completions: Object.fromEntries([...Array(50).keys()].map(i => [200 * i + 1, [completion(0, 'text')]])),
  })
  const before = process.cpuUsage()
  const { html, bytes } = await pageOf({ runs: [{ folder }] })
  const { user, system } = process.cpuUsage(before)
  const seconds = (user + system) / 1e6
  t.log(`${seconds.toFixed(2)} s of the processor, ${(bytes / 1024).toFixed(0)} KiB`)
  t.true(seconds < 2, `${seconds} s`)
  t.true(bytes < 1e6, `${bytes} bytes`)
  const points = lineOf(html, 'reward')
  t.true(points.length > 200 && points.length <= 402, `${points.length} points`)
  // From -1 (y 190) to 2 (y 12).
  const y = (value: number) => 190 - ((value + 1) / 3) * 178
  t.true(points.some(point => Math.abs(point[1] - y(1.9)) < 0.1))
  t.true(points.some(point => Math.abs(point[1] - y(-0.9)) < 0.1))
  t.is(embedded(html)[0]?.steps.length, 24)
  t.is(embedded(html)[0]?.of, 50)
  t.deepEqual([embedded(html)[0]?.steps[0]?.step, embedded(html)[0]?.steps[23]?.step], [1, 9801])
})

test('megabytes of text are cut, and what was left out is counted', async t => {
  const folder = await temporaryFolder(t)
  const long = 'x<'.repeat(700_000)
  const { pieces: _, token_ids: __, logprobs: ___, ...bare } = completion(0, long, { prompt: long })
  const many = [...Array(200).keys()].map(g => completion(g, 'word '.repeat(200)))
  await writeRun(folder, {
    steps: 3,
    completions: { 1: [bare], 2: many, 3: [completion(0, 'z'.repeat(9000))] },
  })
  const { html, bytes } = await pageOf({ runs: [{ folder }] })
  t.true(bytes < 3e6, `${bytes} bytes`)
  const [run] = embedded(html)
  const groups = run?.steps.map(
    step => step.groups as { prompt: string; members: { text: string; cut: number }[] }[],
  )
  t.is(groups?.[0]?.[0]?.members[0]?.cut, 1_400_000 - 8192)
  t.is(groups?.[0]?.[0]?.members[0]?.text.length, 8192)
  t.regex(groups?.[0]?.[0]?.prompt ?? '', /\[1395904 characters left out\]$/)
  t.is(run?.steps[1]?.of, 200)
  t.true((groups?.[1]?.length ?? 0) > 10 && (groups?.[1]?.length ?? 0) < 200)
  t.is(groups?.[2]?.[0]?.members[0]?.cut, 9000 - 8192)
})

test('no character of a hostile text reaches the page as it is', async t => {
  const folder = await temporaryFolder(t)
  const text = hostile.join('\n')
  const rows = [completion(0, text, { prompt: text, reason: text, finish_reason: text })]
  await writeRun(folder, { steps: 2, method: text, completions: { 1: rows } })
  await writeFile(
    join(folder, 'metrics.jsonl'),
    `${JSON.stringify({ step: 1, reward: 1, [`eval_accuracy/${text}`]: 0.5 })}\n`,
  )
  const { html, pictures } = await pageOf({
    runs: [{ folder }],
    title: text,
    accuracyNote: text,
    svg: join(folder, 'svg'),
  })
  t.is((html.match(/<script/g) ?? []).length, 2)
  t.is((html.match(/<style/g) ?? []).length, 1)
  t.notRegex(html, /<img|<svg onload|<!--/)
  const unprintable = /(?!\n)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\ufffe\uffff]/u
  t.notRegex(html, unprintable)
  for (const picture of pictures) t.notRegex(await readFile(picture, 'utf8'), unprintable)
  t.true(
    pictures.every(picture => /^[A-Za-z0-9.-]+$/.test(picture.slice(folder.length + 5))),
    `${pictures}`,
  )
})

test('completions that are torn or foreign are left out', async t => {
  const folder = await temporaryFolder(t)
  await writeRun(folder, { steps: 1, completions: { 1: [completion(0, 'good')] } })
  const path = join(folder, 'completions/completions_00001.jsonl')
  const good = await readFile(path, 'utf8')
  await writeFile(
    path,
    `${good}[]\nnull\n{"prompt":5}\n{"prompt":"p","group":"x","reward":"1","pieces":[1],"logprobs":"?"}\n{"torn`,
  )
  await mkdir(join(folder, 'completions/completions_00002.jsonl'))
  const { html, notices } = await pageOf({ runs: [{ folder }] })
  t.is(notices.length, 2)
  t.regex(notices[0] ?? '', /completions_00001.jsonl: 1 line left out/)
  t.regex(notices[1] ?? '', /completions_00002.jsonl: left out: .*is a folder/)
  t.is(embedded(html)[0]?.steps[0]?.groups.length, 1)
})
