// Models of the hub, against a server of its own and against prepared caches: what is fetched, where it lies, and what
// every failure is called.
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { AbortedError, ConfigError, ModelFileError } from '../../lib/errors.js'
import { Policy } from '../../lib/index.js'
import { writeCheckpoint } from '../../lib/policy/checkpoint-write.js'
import { type DownloadProgress, modelFolder } from '../../lib/policy/hub.js'
import { hubOf } from '../../lib/policy/hub-access.js'
import { readPolicyConfig } from '../../lib/policy/hugging-face-config.js'
import { parameterLayout } from '../../lib/policy/parameters.js'
import { loadTokenizer } from '../../lib/policy/tokenizer-load.js'
import { CharacterTokenizer } from '../../lib/policy/tokenizer-simple.js'
import { goldenFolder, temporaryFolder } from './_files.js'
import { commit, HubServer, name, sumOf } from './_hub-server.js'

// The environment is the process's.
const test = anyTest.serial
const model = `hf:${name}`
const variables = [
  'HF_ENDPOINT',
  'HF_HOME',
  'HF_HUB_CACHE',
  'HF_TOKEN',
  'HF_TOKEN_PATH',
  'HF_HUB_OFFLINE',
  'HF_HUB_DISABLE_IMPLICIT_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
]

function environment(t: ExecutionContext, values: Record<string, string>): void {
  for (const variable of variables) delete process.env[variable]
  Object.assign(process.env, values)
  t.teardown(() => {
    for (const variable of variables) delete process.env[variable]
  })
}

async function tinyFiles(t: ExecutionContext, shards = false): Promise<Map<string, Buffer>> {
  const folder = temporaryFolder(t)
  if (shards) {
    const config = await readPolicyConfig(goldenFolder('qwen2-tied'))
    const flat = new Float32Array(parameterLayout(config).size).map((_, i) => i / 1024)
    await writeCheckpoint(folder, config, flat, { maxShardBytes: 40_000 })
  } else cpSync(goldenFolder('qwen2-tied'), folder, { recursive: true })
  await new CharacterTokenizer('0123456789=.', '.').save(folder)
  const files = new Map(
    readdirSync(folder)
      .filter(file => !/^(case\.json|expected\.safetensors)$/.test(file))
      .map(file => [file, readFileSync(join(folder, file))]),
  )
  files.set('README.md', Buffer.from('# a model'))
  files.set('pytorch_model.bin', Buffer.alloc(1000))
  return files
}

/** A server with a model, and an environment that points to it with an empty cache. */
async function hubWith(t: ExecutionContext, files?: Map<string, Buffer>) {
  const hub = await HubServer.start(files ?? (await tinyFiles(t)))
  t.teardown(() => hub.stop())
  const cache = join(temporaryFolder(t), 'cache')
  environment(t, { HF_ENDPOINT: `${hub.endpoint}/`, HF_HUB_CACHE: cache })
  return { hub, cache, folder: join(cache, 'models--tiny-lab--tiny-model') }
}

async function fails(t: ExecutionContext, says: RegExp, reference = model): Promise<ModelFileError> {
  const error = await t.throwsAsync(modelFolder(reference), { instanceOf: ModelFileError }, String(says))
  t.regex(error!.message, says)
  return error!
}

test('a policy is loaded from the hub: the needed files, in the layout of the cache', async t => {
  const { hub, cache, folder } = await hubWith(t)
  const seen: DownloadProgress[] = []
  await using policy = await Policy.load(model, { device: 'cpu', onDownload: each => seen.push(each) })
  await using golden = await Policy.load(goldenFolder('qwen2-tied'), { device: 'cpu' })
  const values = (each: Policy) => each.device.readFloat32(each.model.values)
  t.deepEqual(await values(policy), await values(golden))
  t.deepEqual(hub.fetched, ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
  t.is(readFileSync(join(folder, 'refs', 'main'), 'utf8'), commit)
  const snapshot = join(folder, 'snapshots', commit)
  t.is(policy.source, snapshot)
  for (const file of hub.fetched) {
    t.is(readlinkSync(join(snapshot, file)), join('..', '..', 'blobs', sumOf(file, hub.files.get(file)!)))
    t.deepEqual(readFileSync(join(snapshot, file)), hub.files.get(file))
  }
  t.deepEqual(readdirSync(join(folder, 'blobs')).length, 4)
  t.deepEqual(readdirSync(cache), ['models--tiny-lab--tiny-model'])
  // What was said of it.
  const total = hub.fetched.reduce((sum, file) => sum + hub.files.get(file)!.byteLength, 0)
  t.deepEqual(seen.at(-1), { model, file: seen.at(-1)!.file, bytes: total, totalBytes: total })
  t.true(seen.every(({ bytes }, i) => i === 0 || bytes >= seen[i - 1]!.bytes))
  t.is(hub.authorization, undefined)

  // What is there is not fetched again, by whatever name the commit is asked for.
  hub.requests.length = 0
  for (const again of [model, `${model}@v1`, `${model}@${commit}`]) t.is(await modelFolder(again), snapshot)
  t.deepEqual(hub.fetched, [])
  t.is(readFileSync(join(folder, 'refs', 'v1'), 'utf8'), commit)
})

test('shards are those that the index names', async t => {
  const { hub } = await hubWith(t, await tinyFiles(t, true))
  hub.files.set('model-00099-of-00099.safetensors', Buffer.from('of nobody'))
  await using policy = await Policy.load(model, { device: 'cpu' })
  t.is((await policy.device.readFloat32(policy.model.values))[3], 3 / 1024)
  const shards = [...hub.files.keys()].filter(file => file.startsWith('model-0000'))
  t.true(shards.length > 2)
  const expected = [
    'config.json',
    'generation_config.json',
    ...shards,
    'model.safetensors.index.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ]
  t.deepEqual(hub.fetched, expected.sort())
})

test('the configuration or the tokenizer alone is fetched where no more is needed', async t => {
  const { hub } = await hubWith(t)
  await modelFolder(model, { parts: 'config' })
  t.deepEqual(hub.fetched, ['config.json'])
  t.is((await loadTokenizer(model)).endId, 11)
  t.deepEqual(hub.fetched, ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
})

test('a folder is a folder, and nothing is asked of the hub', async t => {
  const { hub } = await hubWith(t)
  t.is(await modelFolder('models/hf:x'), 'models/hf:x')
  await t.throwsAsync(Policy.load(join(temporaryFolder(t), 'none'), { device: 'cpu' }), {
    instanceOf: ModelFileError,
  })
  t.deepEqual(hub.requests, [])
})

test('what is no reference is refused before anything is asked', async t => {
  const { hub } = await hubWith(t)
  const wrong = [
    'hf:',
    'hf:name',
    'hf:a/b/c',
    'hf:../b',
    'hf:a/..',
    'hf:a/b@',
    'hf:a/b@../x',
    'hf:a/b@x/../y',
    'hf:a/b c',
  ]
  for (const reference of [...wrong, `hf:a/${'b'.repeat(200)}`, 'hf:a/b@x\n']) {
    await t.throwsAsync(
      modelFolder(reference),
      { instanceOf: ConfigError, message: /expected hf:owner\/name/ },
      reference,
    )
  }
  process.env.HF_ENDPOINT = 'ftp://x'
  await t.throwsAsync(modelFolder(model), {
    instanceOf: ConfigError,
    message: /HF_ENDPOINT: expected an address/,
  })
  t.deepEqual(hub.requests, [])
})

test('offline: what the cache has is used, what it lacks is named, and nobody is asked', async t => {
  const { hub, folder } = await hubWith(t)
  process.env.HF_HUB_OFFLINE = '1'
  await fails(t, /has no revision "main", and HF_HUB_OFFLINE is set; fetch the model once/)
  // As Hugging Face's own tools leave it.
  const snapshot = join(folder, 'snapshots', commit)
  mkdirSync(join(folder, 'blobs'), { recursive: true })
  mkdirSync(join(folder, 'refs'))
  mkdirSync(snapshot, { recursive: true })
  writeFileSync(join(folder, 'refs', 'main'), `${commit}`)
  const put = (file: string) => {
    writeFileSync(join(folder, 'blobs', sumOf(file, hub.files.get(file)!)), hub.files.get(file)!)
    symlinkSync(join('..', '..', 'blobs', sumOf(file, hub.files.get(file)!)), join(snapshot, file))
  }
  put('config.json')
  await fails(t, /lacks model\.safetensors, and HF_HUB_OFFLINE is set/)
  await fails(t, /lacks model\.safetensors/, `${model}@${commit}`)
  t.is(await modelFolder(model, { parts: 'config' }), snapshot)
  put('model.safetensors')
  await using policy = await Policy.load(model, { device: 'cpu' })
  t.is(policy.config.architecture, 'qwen2')
  await fails(t, /has no revision "v1"/, `${model}@v1`)
  t.deepEqual(hub.requests, [])
})

test('HF_HOME holds the cache where HF_HUB_CACHE does not say otherwise', async t => {
  const { hub } = await hubWith(t)
  const home = temporaryFolder(t)
  delete process.env.HF_HUB_CACHE
  process.env.HF_HOME = home
  t.is(await modelFolder(model), join(home, 'hub', 'models--tiny-lab--tiny-model', 'snapshots', commit))
  t.true(hub.requests.length > 0)
})

test('models that are not there, not given, or not of luffy’s kind', async t => {
  const { hub } = await hubWith(t)
  const error = await fails(
    t,
    /has no model tiny-lab\/none; check the name; a private model needs a token/,
    'hf:tiny-lab/none',
  )
  t.is(error.exitCode, 3)
  await fails(t, /has no model tiny-lab\/tiny-model of revision v2/, `${model}@v2`)
  hub.intercept = (_, response) => !!response.writeHead(403, { 'content-type': 'text/plain' }).end('gated')
  await fails(t, /does not give it \(403\); accept its terms/)
  hub.intercept = (_, response) => !!response.writeHead(429).end('')
  await fails(t, /answered 429; try again later/)
  hub.intercept = undefined
  hub.files.delete('model.safetensors')
  await fails(t, /the model has no model\.safetensors; luffy reads/)
})

test('what is no token is said, and not shown', async t => {
  const { hub } = await hubWith(t)
  process.env.HF_TOKEN = 'secret'
  const error = await t.throwsAsync(modelFolder(model), { instanceOf: ConfigError, message: /^HF_TOKEN: / })
  t.notRegex(String(error), /secret/)
  t.is(hub.requests.length, 0)
})

test('a token goes to the hub, and into no message', async t => {
  const { hub } = await hubWith(t)
  process.env.HF_TOKEN = 'hf_secret'
  await modelFolder(model)
  t.is(hub.authorization, 'Bearer hf_secret')
  hub.intercept = (_, response) => !!response.writeHead(401).end('')
  const error = await fails(t, /does not give it \(401\)/, `${model}@v1`)
  t.false(JSON.stringify([error.message, error.hint, error.details]).includes('secret'))
})

test('the token of the environment comes before the file that a login left, and a file can be turned off', t => {
  const home = temporaryFolder(t)
  writeFileSync(join(home, 'token'), ' hf_of_file\r\n')
  const other = join(home, 'other')
  writeFileSync(other, 'hf_of_other')
  const token = (env: Record<string, string>) => hubOf({ HF_HOME: home, ...env }).token
  t.is(token({}), 'hf_of_file')
  t.is(token({ HF_TOKEN: '  ' }), 'hf_of_file')
  t.is(token({ HF_TOKEN: 'hf_given\n' }), 'hf_given')
  t.is(token({ HUGGING_FACE_HUB_TOKEN: 'hf_old' }), 'hf_old')
  t.is(token({ HF_TOKEN_PATH: other }), 'hf_of_other')
  t.is(token({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }), undefined)
  t.is(token({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1', HF_TOKEN: 'hf_given' }), 'hf_given')
  t.is(token({ HF_TOKEN_PATH: join(home, 'none') }), undefined)
  t.is(token({ HF_TOKEN_PATH: home }), undefined, 'a folder is no token')
  execFileSync('mkfifo', [join(home, 'pipe')])
  t.is(token({ HF_TOKEN_PATH: join(home, 'pipe') }), undefined, 'a pipe is not waited for')
  writeFileSync(other, 'x'.repeat(5000))
  t.is(token({ HF_TOKEN_PATH: other }), undefined)
  t.is(hubOf({ XDG_CACHE_HOME: home }).token, undefined)
})

test('without a connection the cache has to do, and without a cache that is said', async t => {
  const { hub, folder } = await hubWith(t)
  hub.intercept = (request, response) => {
    response.destroy()
    return request !== undefined
  }
  const error = await fails(t, /cannot be reached \(.+\); check the connection; HF_HUB_OFFLINE=1/)
  t.is(error.code, 'HUB_UNREACHABLE')
  hub.intercept = undefined
  await modelFolder(model)
  hub.intercept = (_, response) => !!response.writeHead(503).end('')
  t.is(await modelFolder(`${model}@${commit}`), join(folder, 'snapshots', commit))
  await fails(t, /cannot be reached \(503\)/, `${model}@v1`)
})

test('what the hub does not give any more is not taken from the cache behind its back', async t => {
  const { hub } = await hubWith(t)
  await modelFolder(model)
  hub.intercept = (request, response) =>
    request.url?.includes('/tree/') === true && !!response.writeHead(403).end('{}')
  await fails(t, /does not give it \(403\)/)
  // Another token, so that the commit is asked for anew.
  process.env.HF_TOKEN = 'hf_other'
  hub.intercept = (request, response) =>
    request.url?.includes('/revision/') === true && !!response.writeHead(403).end('{}')
  await fails(t, /does not give it \(403\)/)
})

test('a connection that breaks is taken up where it broke', async t => {
  const { hub, folder } = await hubWith(t)
  const bytes = hub.files.get('model.safetensors')!
  let broken = 0
  hub.intercept = (request, response) => {
    const isWhole = request.url?.endsWith('model.safetensors') && request.headers.range === undefined
    if (!isWhole) return false
    ++broken
    response.writeHead(200, { 'content-length': bytes.byteLength, etag: '"x"' })
    response.write(bytes.subarray(0, 30_000), () => setTimeout(() => response.destroy(), 50))
    return true
  }
  await modelFolder(model)
  t.is(broken, 1)
  const ranges = hub.requests.filter(line => line.includes('model.safetensors') && /bytes=[1-9]/.test(line))
  t.is(ranges.length, 1)
  const from = Number(/bytes=(\d+)-/.exec(ranges[0]!)![1])
  t.true(from > 0 && from <= 30_000, ranges[0])
  t.deepEqual(readFileSync(join(folder, 'snapshots', commit, 'model.safetensors')), bytes)
})

test('what arrives damaged is refused and leaves nothing', async t => {
  const { hub, folder } = await hubWith(t)
  const bytes = hub.files.get('model.safetensors')!
  const damaged = Buffer.from(bytes)
  damaged[bytes.byteLength - 5]! ^= 1
  for (const wrong of [damaged, Buffer.concat([bytes, Buffer.alloc(1)])]) {
    hub.intercept = (request, response) => {
      const isFile = request.url?.endsWith('model.safetensors') && request.headers.range === undefined
      if (isFile) response.writeHead(200, { 'content-length': wrong.byteLength }).end(wrong)
      return isFile === true
    }
    await fails(
      t,
      /model\.safetensors arrived damaged: .* bytes of sum .*, expected \d+ of [0-9a-f]{64}; try again/,
    )
    t.deepEqual(
      readdirSync(join(folder, 'blobs')).filter(file => /tmp|[0-9a-f]{64}/.test(file)),
      [],
    )
    t.false(existsSync(join(folder, 'snapshots', commit, 'model.safetensors')))
  }
})

test('names that lead out of the folder are not fetched', async t => {
  const files = await tinyFiles(t, true)
  const index = JSON.parse(String(files.get('model.safetensors.index.json')))
  index.weight_map['model.norm.weight'] = '../../../../escape.safetensors'
  files.set('model.safetensors.index.json', Buffer.from(JSON.stringify(index)))
  files.set('../../../../escape.safetensors', Buffer.from('x'))
  files.set('sub/config.json', Buffer.from('{}'))
  const { hub, cache } = await hubWith(t, files)
  await fails(t, /has no \.\.\/\.\.\/\.\.\/\.\.\/escape\.safetensors/)
  t.false(hub.requests.some(line => line.includes('escape') || line.includes('sub/')))
  t.false(existsSync(join(cache, '..', 'escape.safetensors')))
  const lists: [unknown, RegExp][] = [
    [[{ type: 'file', path: 'config.json', size: -1, oid: 'f'.repeat(40) }], /without its size or sum/],
    [[{ type: 'file', path: 'config.json', size: 1, oid: '../../x' }], /without its size or sum/],
  ]
  for (const [list, says] of lists) {
    hub.intercept = (request, response) => {
      const isList = request.url?.includes('/tree/') === true
      if (isList) response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(list))
      return isList
    }
    await fails(t, says)
  }
  hub.intercept = (request, response) => {
    const isInfo = request.url?.includes('/revision/') === true
    if (isInfo) response.writeHead(200, { 'content-type': 'application/json' }).end('{"sha":"../../x"}')
    return isInfo
  }
  await fails(t, /names no commit, but "\.\.\/\.\.\/x"/, `${model}@v1`)
})

test('a fetch stops when asked', async t => {
  const { hub, folder } = await hubWith(t)
  const controller = new AbortController()
  hub.intercept = (request, response) => {
    const isFile = request.url?.endsWith('model.safetensors') && request.headers.range === undefined
    if (!isFile) return false
    response.writeHead(200, { 'content-length': hub.files.get('model.safetensors')!.byteLength })
    response.write(Buffer.alloc(100), () => setTimeout(() => controller.abort(), 50))
    return true // and never goes on
  }
  const stopped = modelFolder(model, { signal: controller.signal })
  await t.throwsAsync(stopped, { instanceOf: AbortedError })
  t.deepEqual(
    readdirSync(join(folder, 'blobs')).filter(file => file.includes('tmp')),
    [],
  )
  t.true(lstatSync(join(folder, 'snapshots', commit, 'config.json')).isSymbolicLink())
  await t.throwsAsync(modelFolder(model, { signal: AbortSignal.abort() }), { instanceOf: AbortedError })
})
