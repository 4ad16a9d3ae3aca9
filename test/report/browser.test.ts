// The page in a real browser: nothing hostile runs, nothing is asked of a network, and it can be read.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { writeReport } from '../../lib/report/html/write-report.js'
import { Browser, findChromium } from './_browser.js'
import { contrasts, intruders, overlaps } from './_page-checks.js'
import { completion, hostile, writeRun } from './_runs.js'

const path = findChromium()
// Skipped, and named, where there is no browser; never passed.
const inBrowser = path === undefined ? test.serial.skip : test.serial

const state = {} as { root: string; browser: Browser; page: string; standalone: string }

test.before(async () => {
  if (path === undefined) return
  state.root = await mkdtemp(join(tmpdir(), 'luffy-test-'))
  const groups = hostile.flatMap((text, g) => [
    completion(g, text, { prompt: text, reason: text }),
    completion(g, 'right $', { reward: g % 2, reason: 'right', advantage: 0.75 }),
    completion(g, `shown ${text}`, {
      source: 'off',
      reward: 1,
      advantage: 0.5,
      finish_reason: 'demonstration',
    }),
  ])
  const named = (i: number) => ({
    method: i === 2 ? (hostile[1] as string) : (['luffy', 'grpo'][i] as string),
  })
  const folders = [0, 1, 2, 3, 4, 5]
  for (const i of folders) {
    await writeRun(join(state.root, `run-${i}`), {
      ...named(i % 3),
      seed: i < 3 ? 0 : 1,
      steps: 60,
      completions: { 1: groups, 2: groups },
    })
  }
  const result = await writeReport({
    runs: folders.map(i => ({ folder: join(state.root, `run-${i}`) })),
    title: hostile[0] as string,
    out: join(state.root, 'report.html'),
    svg: join(state.root, 'pictures'),
  })
  state.page = pathToFileURL(result.file).href
  state.standalone = pathToFileURL(join(state.root, 'pictures/reward.svg')).href
  state.browser = await Browser.launch(path)
})
test.after.always(async () => {
  await state.browser?.close()
  if (state.root) await rm(state.root, { recursive: true, force: true })
})

const run = <T>(check: () => T) => state.browser.evaluate<T>(`(${check.toString()})()`)

for (const dark of [false, true]) {
  for (const width of [1360, 375]) {
    inBrowser(`${dark ? 'dark' : 'light'}, ${width} wide: whole, silent, readable`, async t => {
      const { browser, page } = state
      await browser.open(page, { width, dark })
      t.deepEqual(await run(intruders), [])
      const loud = browser.events.filter(({ method, params }) => {
        const level = (params?.entry as { level?: string } | undefined)?.level
        return method === 'Runtime.exceptionThrown' || (method === 'Log.entryAdded' && level === 'error')
      })
      t.deepEqual(loud, [], 'errors in the console')
      const asked = browser.events
        .filter(({ method }) => method === 'Network.requestWillBeSent')
        .map(({ params }) => (params?.request as { url?: string } | undefined)?.url)
      t.deepEqual(asked, [page])
      t.true((await browser.evaluate<number>('document.querySelectorAll("svg.chart").length')) >= 15)
      t.deepEqual(await run(overlaps), [])
      const { low, texts, marks } = await run(contrasts)
      t.true(texts >= 100 && marks >= 100, `only ${texts} texts and ${marks} marks`)
      t.deepEqual(low, [])
      t.true((await browser.evaluate<number>('document.documentElement.scrollWidth')) <= width)
    })
  }
}

inBrowser('completions: steps, groups, outcomes and colours; text stands as it was written', async t => {
  const { browser, page } = state
  await browser.open(page, { width: 1360 })
  const set = (id: string, value: string) =>
    browser.evaluate(
      `{ const e = document.getElementById('${id}'); e.value = '${value}'; e.dispatchEvent(new Event('input')) }`,
    )
  const text = (selector: string) =>
    browser.evaluate<string[]>(`[...document.querySelectorAll('${selector}')].map(e => e.textContent)`)
  t.deepEqual(await text('#step-name'), ['step 2'])
  await set('step', '0')
  t.deepEqual(await text('#step-name'), ['step 1'])
  const escapes = [
    hostile[0],
    hostile[1],
    hostile[2],
    hostile[3],
    hostile[4],
    '\\u{1b}]0;title\\u{7}\\u{1b}[31mred\\u{1b}[2J\\u{9b}1m bell\\u{7} nul\\u{0}',
    'bidi \\u{202e}gnp.exe \\u{2066}isolate\\u{2069} \\u{200f}mark',
    'lone \\u{d800} and \\u{dc00}, \ufffd \ufffd, \\u{2028}line\\u{2029}paragraph',
  ]
  for (const [g, expected] of escapes.entries()) {
    await set('group', String(g))
    t.deepEqual(await text('#group-name'), [`group ${g + 1} of 8`])
    t.deepEqual(await text('#shown-group pre'), [
      expected,
      `shown ${expected}`,
      expected,
      'right $',
    ] as string[])
  }
  t.deepEqual(await run(intruders), [])

  await set('outcome', 'mixed')
  t.deepEqual(await text('#group-name'), ['group 1 of 4'])
  await browser.evaluate('document.getElementById("next").click()')
  t.deepEqual(await text('#group-name'), ['group 2 of 4'])
  // Token i of a sample has log-probability -i / 10: p is 0.9 or more for the first two, then falls.
  const classes = await browser.evaluate<string[]>(
    '[...document.querySelectorAll("#shown-group article:nth-of-type(3) pre span")].map(e => e.className)',
  )
  t.deepEqual(classes, ['p0', 'p0', 'p1', 'p1', 'p1', 'p1', 'p1'])
  await set('colour', 'advantage')
  const coloured = await browser.evaluate<string[]>(
    '[...document.querySelectorAll("#shown-group article pre span")].map(e => e.className)',
  )
  t.deepEqual(coloured, ['gain2', 'loss1', 'gain2'])
  t.deepEqual((await run(contrasts)).low, [])
})

inBrowser('were markup to get in, the policy of the page would stop it', async t => {
  const { browser, page } = state
  await browser.open(page, { width: 1360 })
  const markup = `${hostile[1]}<script>globalThis.pwned = 6</script><link rel="stylesheet" href="http://127.0.0.1:9/y">`
  await browser.evaluate(`new Promise(resolve => {
    const part = document.createRange().createContextualFragment(${JSON.stringify(markup)})
    document.body.append(part)
    setTimeout(resolve, 200)
  })`)
  t.is(await browser.evaluate('typeof globalThis.pwned'), 'undefined')
  const blocked = browser.events.filter(
    ({ method, params }) =>
      method === 'Log.entryAdded' &&
      /Content Security Policy/.test((params?.entry as { text?: string } | undefined)?.text ?? ''),
  )
  t.true(blocked.length >= 3, `${blocked.length} violations`)
  const sent = browser.events.filter(({ method }) => method === 'Network.responseReceived').length
  t.is(sent, 1)
})

inBrowser('with scripts off the pictures are there, and the page says what is not', async t => {
  const { browser, page } = state
  await browser.open(page, { width: 1360, scripts: false })
  t.true(await browser.evaluate<boolean>('document.getElementById("viewer").hidden'))
  t.regex(await browser.evaluate<string>('document.querySelector("noscript").textContent'), /needs scripts/)
  const heights = await browser.evaluate<number[]>(
    '[...document.querySelectorAll("svg.chart")].map(e => e.getBoundingClientRect().height)',
  )
  t.true(heights.length >= 15 && heights.every(height => height > 50))
})

inBrowser('a picture of its own is XML with its colours', async t => {
  const { browser, standalone } = state
  for (const dark of [false, true]) {
    await browser.open(standalone, { width: 500, dark })
    t.is(await browser.evaluate('document.documentElement.tagName'), 'svg')
    t.deepEqual(await run(overlaps), [])
    const back = await browser.evaluate('getComputedStyle(document.querySelector(".back")).fill')
    t.is(back, dark ? 'rgb(23, 27, 33)' : 'rgb(255, 255, 255)')
  }
})
