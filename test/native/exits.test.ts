// However a process or a worker ends while the device is busy, it ends soon, with its own exit code and no signal.
import test from 'ava'
import { runChild, startChild } from '../_helpers/child.js'

const CHILD = new URL('./_exit-child.js', import.meta.url)
// Races need repeats: five in continuous integration.
const repeats = process.env.CI ? 5 : 1
// Starting node takes most of it.
const mostSeconds = 20

const ways: [name: string, code: number][] = [
  ['return', 0],
  ['disposed', 0],
  ['waited', 7],
  ['throw', 1],
  ['exit', 3],
  ['closed', 0],
  ['terminate', 0],
  ['terminateTwo', 0],
  ['exitWithWorkers', 3],
]

for (const [way, code] of ways) {
  test.serial(`${way}: ends with ${code}`, async t => {
    for (let i = 0; i < repeats; i++) {
      const started = performance.now()
      const result = await runChild(CHILD, [way])
      t.is(result.signal, null, result.stderr)
      t.is(result.code, code, result.stderr)
      t.is(result.stderr.includes('thrown on purpose'), way === 'throw')
      t.true((performance.now() - started) / 1000 < mostSeconds)
    }
  })
}

for (const [way, expected] of [
  ['signal', { code: null, signal: 'SIGTERM' }],
  ['handler', { code: 143, signal: null }],
] as const) {
  test.serial(`${way}: SIGTERM ends it`, async t => {
    for (let i = 0; i < repeats; i++) {
      const child = startChild(CHILD, [way])
      await child.line('busy')
      const started = performance.now()
      child.process.kill('SIGTERM')
      const { code, signal } = await child.ended
      t.deepEqual({ code, signal }, expected)
      t.true((performance.now() - started) / 1000 < 5)
    }
  })
}
