// The commands with a model of the hub: what they fetch, what they say of it, and how they end without it.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import anyTest from 'ava'
import { HubServer, name } from '../policy/_hub-server.js'
import { folderWithBase, lastLine, luffy, quickRun } from './_luffy.js'

const test = anyTest.serial

test('train, sample, validate and estimate take a model of the hub', async t => {
  const folder = await folderWithBase(t)
  const base = join(folder, 'base')
  const hub = await HubServer.start(
    new Map(readdirSync(base).map(file => [file, readFileSync(join(base, file))])),
  )
  t.teardown(() => hub.stop())
  const model = `hf:${name}`
  const config = 'examples/luffy-op-chains.yaml'
  const env = {
    HF_ENDPOINT: hub.endpoint,
    HF_HUB_CACHE: join(folder, 'cache'),
    HF_TOKEN: '',
    HF_HUB_OFFLINE: '',
  }
  const run = (...args: string[]) => luffy(args, env)

  const valid = await run('validate', config, ...quickRun(folder, 'a', { model }))
  t.is(valid.code, 0, valid.stderr)
  t.regex(valid.stdout, /model: hf:tiny-lab\/tiny-model/)
  const estimate = await run('estimate', config, ...quickRun(folder, 'a', { model }))
  t.is(estimate.code, 0, estimate.stderr)
  t.deepEqual(hub.fetched, ['config.json', 'generation_config.json'])

  const trained = await run('train', config, ...quickRun(folder, 'a', { model, maxSteps: 1 }))
  t.is(trained.code, 0, trained.stderr)
  t.regex(trained.stderr, /^fetching .*MiB .*model hf:tiny-lab\/tiny-model file \S+/m)
  t.regex(readFileSync(join(folder, 'a', 'config.yaml'), 'utf8'), /model: hf:tiny-lab\/tiny-model/)

  const sampled = await run('sample', model, '--prompt', '12=', '--json')
  t.is(sampled.code, 0, sampled.stderr)
  t.false(sampled.stderr.includes('fetching'), 'it was there')

  const unknown = await run('sample', 'hf:tiny-lab/none', '--prompt', '12=')
  t.is(unknown.code, 3)
  t.regex(
    lastLine(unknown.stderr),
    /^luffy: hf:tiny-lab\/none: http:\S+ has no model tiny-lab\/none; check the name/,
  )
  hub.requests.length = 0
  const offline = await luffy(['sample', 'hf:tiny-lab/none', '--prompt', '12='], {
    ...env,
    HF_HUB_OFFLINE: '1',
  })
  t.is(offline.code, 3)
  t.regex(lastLine(offline.stderr), /HF_HUB_OFFLINE is set/)
  t.deepEqual(hub.requests, [])
})
