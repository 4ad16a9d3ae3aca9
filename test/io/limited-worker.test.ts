// The worker beside the process: it answers in order, ends at its limits, and is there again for the next call.
import { setTimeout as sleep } from 'node:timers/promises'
import ava from 'ava'
import { LimitedWorker, WorkerFailure } from '../../lib/io/limited-worker.js'
import { runChild } from '../_helpers/child.js'
import type { Request } from './_limited-worker.js'

// Serial: time and processes are watched.
const test = ava.serial

const module = new URL('./_limited-worker.js', import.meta.url)
const generous = 30_000
const ask = (worker: LimitedWorker, request: Request, timeoutMs = generous) => worker.call(request, timeoutMs)

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function ends(pid: number): Promise<boolean> {
  for (let i = 0; i < 100 && isAlive(pid); i++) await sleep(50)
  return !isAlive(pid)
}

test('answers in order, with everything that structured clones hold', async t => {
  const worker = new LimitedWorker(module, { heapMb: 64 })
  const values = [1, 'é', 3n, new Map([['a', [undefined, null]]]), new Uint8Array([1, 2])]
  t.deepEqual(await Promise.all(values.map(value => ask(worker, { what: 'echo', value }))), values)
  await t.throwsAsync(ask(worker, { what: 'throw' }), { message: 'as asked' })
  t.is(await ask(worker, { what: 'echo', value: 2 }), 2)
  worker.close()
})

for (const [what, kind, message] of [
  ['spin', 'time', /takes longer than 0\.3 s/],
  ['fill', 'memory', /needs more than 64 MiB of memory/],
  ['exit', 'crash', /the worker ended/],
] as const) {
  test(`${kind}: the call fails, the process does not, and the next call is answered`, async t => {
    const worker = new LimitedWorker(module, { heapMb: 64 })
    const pid = (await ask(worker, { what: 'pid' })) as number
    const failed = ask(worker, { what }, what === 'spin' ? 300 : generous)
    const next = ask(worker, { what: 'pid' }) // waits behind it
    const error = await t.throwsAsync(failed, { instanceOf: WorkerFailure, message })
    t.is(error?.kind, kind)
    const other = (await next) as number
    t.not(other, pid)
    t.true(await ends(pid))
    worker.close()
    t.true(await ends(other), 'closing ends it')
  })
}

test('signals that reach every process do not end a worker', async t => {
  const worker = new LimitedWorker(module, { heapMb: 64 })
  const pid = (await ask(worker, { what: 'pid' })) as number
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(pid, signal)
  await sleep(100)
  t.is(await ask(worker, { what: 'pid' }), pid)
  worker.close()
})

test('a worker does not keep its process, and ends with it', async t => {
  const child = await runChild(new URL('./_limited-worker-user.js', import.meta.url), [])
  t.is(child.code, 0, child.stderr)
  const pid = Number(child.stdout)
  t.true(pid > 0)
  t.true(await ends(pid))
})
