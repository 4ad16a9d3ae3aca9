import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import anyTest, { type ExecutionContext } from 'ava'
import { AbortedError, CheckpointError, ModelFileError } from '../../lib/errors.js'
import { hashFile } from '../../lib/io/atomic.js'
import { Checkpoint, parseIndex } from '../../lib/policy/checkpoint-files.js'
import { copyTokenizer, writeCheckpoint } from '../../lib/policy/checkpoint-write.js'
import { createPolicyConfig, type PolicyConfig } from '../../lib/policy/config.js'
import { initializeParameters, type ParameterLayout, parameterLayout } from '../../lib/policy/parameters.js'
import { SafetensorsFile } from '../../lib/policy/safetensors-read.js'
import { type TensorToWrite, writeSafetensors } from '../../lib/policy/safetensors-write.js'
import { goldenFolder, goldenPolicies, temporaryFolder } from './_files.js'

// One after the other: refusals are timed, by the processor's time since others work beside.
const test = anyTest.serial

async function load(folder: string, options = {}): Promise<{ config: PolicyConfig; flat: Float32Array }> {
  await using checkpoint = await Checkpoint.open(folder)
  const flat = new Float32Array(checkpoint.layout.size).fill(Number.NaN)
  await checkpoint.read((start, values) => flat.set(values, start), options)
  const gaps = gapsOf(checkpoint.layout)
  // What is between the parameters was not touched.
  if (!gaps.every(i => Number.isNaN(flat[i]))) throw new Error('something was put into a gap')
  for (const i of gaps) flat[i] = 0
  return { config: checkpoint.config, flat }
}

function gapsOf({ parameters, size }: ParameterLayout): number[] {
  const covered = new Uint8Array(size)
  for (const { offset, size } of parameters) covered.fill(1, offset, offset + size)
  return [...covered.keys()].filter(i => covered[i] === 0)
}

// A golden model in a folder of its own, to be damaged.
function copyOf(t: ExecutionContext, name: (typeof goldenPolicies)[number] = 'llama-untied'): string {
  const folder = temporaryFolder(t)
  cpSync(goldenFolder(name), folder, { recursive: true })
  return folder
}

// The same model in shards.
async function sharded(t: ExecutionContext): Promise<string> {
  const { config, flat } = await load(goldenFolder('llama-untied'))
  const folder = temporaryFolder(t)
  await writeCheckpoint(folder, config, flat, { maxShardBytes: 40_000 })
  return folder
}

async function refused(t: ExecutionContext, folder: string, says: RegExp): Promise<ModelFileError> {
  const start = process.cpuUsage()
  const error = await t.throwsAsync(load(folder), { instanceOf: ModelFileError }, String(says))
  t.regex(error!.message, says)
  const { user, system } = process.cpuUsage(start)
  t.true(user + system < 1e6)
  return error!
}

test('golden policies load: every tensor is where the layout says, bit for bit', async t => {
  for (const name of goldenPolicies) {
    const { config, flat } = await load(goldenFolder(name))
    const layout = parameterLayout(config)
    await using file = await SafetensorsFile.open(join(goldenFolder(name), 'model.safetensors'))
    t.is(file.tensors.size, layout.parameters.length, name)
    for (const parameter of layout.parameters) {
      const { data } = await file.read(parameter.name)
      t.deepEqual(flat.slice(parameter.offset, parameter.offset + parameter.size), data as Float32Array)
    }
  }
})

test('what is written is read back, in one file and in shards', async t => {
  for (const name of goldenPolicies) {
    const original = await load(goldenFolder(name))
    for (const maxShardBytes of [5e9, 60_000, 1]) {
      const folder = join(temporaryFolder(t), 'deep', 'down')
      const records = await writeCheckpoint(folder, original.config, original.flat, { maxShardBytes })
      t.deepEqual(await load(folder), original, `${name} ${maxShardBytes}`)
      t.deepEqual(readdirSync(folder).sort(), records.map(record => record.name).sort())
      for (const record of records) t.deepEqual(await hashFile(join(folder, record.name)), record)
      t.is(existsSync(join(folder, 'model.safetensors')), maxShardBytes === 5e9)
    }
  }
})

test('a tied policy has no output matrix in its file', async t => {
  const { config, flat } = await load(goldenFolder('qwen2-tied'))
  const folder = temporaryFolder(t)
  await writeCheckpoint(folder, config, flat)
  await using file = await SafetensorsFile.open(join(folder, 'model.safetensors'))
  t.false(file.tensors.has('lm_head.weight'))
  t.deepEqual([...file.tensors.keys()], [...file.tensors.keys()].sort())
})

test('half types keep their values, and take half the room', async t => {
  const config = createPolicyConfig({ vocabSize: 300, layers: 2 })
  const layout = parameterLayout(config)
  const flat = new Float32Array(layout.size)
  await initializeParameters(config, layout, 3, (start, values) => flat.set(values, start))
  for (const [dtype, relative] of [
    ['bfloat16', 2 ** -8],
    ['float16', 2 ** -11],
  ] as const) {
    const folder = temporaryFolder(t)
    const chunks = (start: number, count: number) => Promise.resolve(flat.slice(start, start + count))
    const records = await writeCheckpoint(folder, config, chunks, { dtype, maxShardBytes: 200_000 })
    const weights = records.filter(({ name }) => name.endsWith('.safetensors'))
    t.true(weights.length > 3)
    const bytes = weights.reduce((sum, record) => sum + record.bytes, 0)
    t.true(bytes < layout.parameterCount * 2 + 2000 * weights.length)
    t.is(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).torch_dtype, dtype)
    const read = await load(folder)
    const worst = flat.reduce((max, value, i) => {
      const bound = Math.abs(value) * relative + 2 ** -25
      return Math.max(max, Math.abs(read.flat[i]! - value) / bound)
    }, 0)
    t.true(worst <= 1, `${dtype}: ${worst} of the bound`)
    // A second round changes nothing.
    const again = temporaryFolder(t)
    await writeCheckpoint(again, config, read.flat, { dtype })
    t.deepEqual((await load(again)).flat, read.flat)
  }
})

test('a folder never offers two sets of weights', async t => {
  const { config, flat } = await load(goldenFolder('llama-untied'))
  const folder = temporaryFolder(t)
  const names = () => readdirSync(folder).filter(name => name.startsWith('model'))
  await writeCheckpoint(folder, config, flat, { maxShardBytes: 40_000 })
  const many = names().length
  t.true(many > 3)
  const changed = flat.map(value => value * 2)
  await writeCheckpoint(folder, config, changed)
  t.deepEqual(names(), ['model.safetensors'])
  t.deepEqual((await load(folder)).flat, changed)
  writeFileSync(join(folder, 'model-card.md'), 'x')
  await writeCheckpoint(folder, config, flat, { maxShardBytes: 40_000 })
  t.is(names().length, many + 1)
  t.deepEqual((await load(folder)).flat, flat)
})

test('tokenizer files go along, links out of their folder do not', async t => {
  const [from, to] = [temporaryFolder(t), temporaryFolder(t)]
  const text = '{"model": {}}'.repeat(200_000)
  writeFileSync(join(from, 'tokenizer.json'), text)
  writeFileSync(join(from, 'chat_template.jinja'), '')
  writeFileSync(join(from, 'other.txt'), 'x')
  const { config, flat } = await load(goldenFolder('qwen2-tied'))
  const records = await writeCheckpoint(to, config, flat, { copyFrom: from })
  t.is(readFileSync(join(to, 'tokenizer.json'), 'utf8'), text)
  t.true(existsSync(join(to, 'chat_template.jinja')))
  t.false(existsSync(join(to, 'other.txt')))
  t.deepEqual(records.at(0)?.name, 'model.safetensors')
  t.deepEqual(await copyTokenizer(from, from), [])
  symlinkSync('/etc/hostname', join(from, 'vocab.json'))
  await t.throwsAsync(copyTokenizer(from, to), {
    instanceOf: ModelFileError,
    message: /leads out of the folder/,
  })
  await t.throwsAsync(copyTokenizer(join(from, 'none'), to), { instanceOf: ModelFileError })
})

test('an aborted or impossible write leaves the old files', async t => {
  const { config, flat } = await load(goldenFolder('qwen2-tied'))
  const folder = temporaryFolder(t)
  await writeCheckpoint(folder, config, flat)
  const before = readdirSync(folder)
  const aborted = writeCheckpoint(
    folder,
    config,
    flat.map(() => 0),
    { signal: AbortSignal.abort() },
  )
  await t.throwsAsync(aborted, { instanceOf: AbortedError })
  const tooLarge = writeCheckpoint(
    folder,
    config,
    flat.map(() => 1e6),
    { dtype: 'float16' },
  )
  await t.throwsAsync(tooLarge, { instanceOf: CheckpointError, message: /too large for F16/ })
  await t.throwsAsync(writeCheckpoint(folder, config, flat.subarray(1)), { instanceOf: RangeError })
  await t.throwsAsync(writeCheckpoint(folder, config, flat, { maxShardBytes: 0 }), { instanceOf: RangeError })
  t.deepEqual(readdirSync(folder), before)
  t.deepEqual((await load(folder)).flat, flat)
  writeFileSync(join(folder, 'file'), '')
  const below = writeCheckpoint(join(folder, 'file', 'below'), config, flat)
  await t.throwsAsync(below, { instanceOf: CheckpointError, message: /ENOTDIR writing/ })
})

test('missing, extra and wrong tensors are listed, ten at the most', async t => {
  const { config, flat } = await load(goldenFolder('llama-untied'))
  const layout = parameterLayout(config)
  const all = layout.parameters.map(({ name, shape, offset, size }): TensorToWrite => {
    return { name, dtype: 'F32', shape, data: flat.subarray(offset, offset + size) }
  })
  const folder = copyOf(t)
  const write = (tensors: TensorToWrite[]) => writeSafetensors(join(folder, 'model.safetensors'), tensors)

  await write(all.filter(({ name }) => name !== 'lm_head.weight'))
  await refused(t, folder, /1 tensors are missing: lm_head\.weight; config\.json and the weights must be/)
  await write([])
  const error = await refused(t, folder, /21 tensors are missing: .*, and 11 more/)
  t.is((error.details!.missing as string[]).length, 10)
  const turned = all.map(tensor =>
    tensor.name.includes('gate_proj') ? { ...tensor, shape: [32, 88] } : tensor,
  )
  await write(turned)
  await refused(
    t,
    folder,
    /2 tensors have another shape .*gate_proj\.weight: got \[32, 88\], expected \[88, 32\]/,
  )
  await write(
    all.map(tensor => (tensor.name === 'lm_head.weight' ? { ...tensor, shape: [97 * 32] } : tensor)),
  )
  await refused(t, folder, /lm_head\.weight: got \[3104\], expected \[97, 32\]/)
  const ints = new Int32Array(97 * 32)
  await write(
    all.map(tensor => (tensor.name === 'lm_head.weight' ? { ...tensor, dtype: 'I32', data: ints } : tensor)),
  )
  await refused(t, folder, /lm_head\.weight: got I32, expected F32, F16 or BF16/)

  const one = new Float32Array(1)
  const more: TensorToWrite[] = [
    { name: 'model.layers.0.self_attn.rotary_emb.inv_freq', dtype: 'F32', shape: [1], data: one },
    { name: 'model.layers.2.mlp.up_proj.weight', dtype: 'F32', shape: [1], data: one },
  ]
  await write([...all, ...more])
  const checkpoint = await Checkpoint.open(folder)
  await checkpoint.close()
  await checkpoint.close()
  t.is(checkpoint.warnings.length, 1)
  t.regex(checkpoint.warnings[0]!, /1 tensors are not used by a llama policy: model\.layers\.2\.mlp/)
  await t.throwsAsync(Checkpoint.open(folder, { strict: true }), {
    instanceOf: ModelFileError,
    message: /layers\.2/,
  })
})

test('NaN and infinities are refused by name and number, unless they are allowed', async t => {
  const { config, flat } = await load(goldenFolder('qwen2-tied'))
  const { offset } = parameterLayout(config).byName.get('model.layers.1.mlp.down_proj.weight')!
  flat.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], offset + 5)
  for (const dtype of ['float32', 'bfloat16', 'float16'] as const) {
    const folder = temporaryFolder(t)
    await writeCheckpoint(folder, config, flat, { dtype })
    const error = await refused(
      t,
      folder,
      /"model\.layers\.1\.mlp\.down_proj\.weight": 3 of 2816 values are NaN/,
    )
    t.deepEqual(error.details, { tensor: 'model.layers.1.mlp.down_proj.weight', count: 3 })
    const allowed = await load(folder, { allowNonFinite: true })
    t.true(Number.isNaN(allowed.flat[offset + 5]))
    t.is(allowed.flat[offset + 7], Number.NEGATIVE_INFINITY)
  }
})

test('a wrong configuration is found before the weights are looked at', async t => {
  const folder = copyOf(t)
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, model_type: 'mamba' }))
  unlinkSync(join(folder, 'model.safetensors'))
  await refused(t, folder, /architecture mamba not supported \(have: Qwen2ForCausalLM/)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  await refused(t, folder, /neither model\.safetensors nor model\.safetensors\.index\.json/)
  writeFileSync(join(folder, 'pytorch_model.bin'), '')
  await refused(t, folder, /pickle.*convert the model to safetensors/)
})

test('damaged folders are refused', async t => {
  const folder = copyOf(t)
  const path = join(folder, 'model.safetensors')
  const bytes = readFileSync(path)
  const restore = (content: Uint8Array | string) => writeFileSync(path, content)
  truncateSync(path, bytes.byteLength - 1)
  await refused(t, folder, /end after the file's .* not complete/)
  restore(`version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 988097824\n`)
  await refused(t, folder, /^model\.safetensors: 1\d\d bytes, is a Git LFS pointer; run git lfs pull$/)
  restore(Buffer.concat([bytes, Buffer.alloc(1)]))
  await refused(t, folder, /1 bytes follow the last tensor/)
  unlinkSync(path)
  execFileSync('mkfifo', [path])
  await refused(t, folder, /is a pipe/)
  unlinkSync(path)
  const outside = join(temporaryFolder(t), 'x')
  writeFileSync(outside, bytes)
  symlinkSync(outside, path)
  await refused(t, folder, /leads out of the folder/)
  renameSync(join(folder, 'config.json'), join(folder, 'real.json'))
  symlinkSync('real.json', join(folder, 'config.json'))
  unlinkSync(path)
  restore(bytes)
  await t.notThrowsAsync(load(folder))
})

test('the links of the Hugging Face cache are followed', async t => {
  const model = join(temporaryFolder(t), 'models--owner--name')
  const snapshot = join(model, 'snapshots', 'abc')
  mkdirSync(join(model, 'blobs'), { recursive: true })
  mkdirSync(snapshot, { recursive: true })
  for (const name of ['config.json', 'model.safetensors']) {
    cpSync(join(goldenFolder('qwen2-tied'), name), join(model, 'blobs', `blob-${name}`))
    symlinkSync(join('..', '..', 'blobs', `blob-${name}`), join(snapshot, name))
  }
  t.deepEqual(await load(snapshot), await load(goldenFolder('qwen2-tied')))
})

test('an index names plain files of its folder, and they hold what it says', async t => {
  const folder = await sharded(t)
  const indexPath = join(folder, 'model.safetensors.index.json')
  const text = readFileSync(indexPath, 'utf8')
  const index: { weight_map: Record<string, string> } = JSON.parse(text)
  const write = (change: Record<string, unknown>) =>
    writeFileSync(indexPath, JSON.stringify({ weight_map: { ...index.weight_map, ...change } }))

  const escapes = [
    '../x',
    '../../etc/passwd',
    '/etc/passwd',
    '..',
    '.',
    '',
    'a/b',
    'a\\b',
    'a\0b',
    'x'.repeat(300),
  ]
  for (const name of escapes) {
    write({ 'lm_head.weight': name })
    const error = await refused(t, folder, /expected the name of a file in this folder, got/)
    t.deepEqual(error.details, { file: name })
  }
  for (const value of [7, null, ['x'], { file: 'x' }]) {
    write({ 'lm_head.weight': value })
    await refused(t, folder, /index\.json:1:\d+: expected a file name for "lm_head\.weight"/)
  }
  write({ 'lm_head.weight': 'model-00009-of-00003.safetensors' })
  await refused(t, folder, /model-00009-of-00003\.safetensors: no such file; .*fetch the whole model/)
  write({ 'lm_head.weight': index.weight_map['model.norm.weight'] })
  await refused(t, folder, /tensor "lm_head\.weight" is not in model-0000\d-of-/)
  writeFileSync(indexPath, text.replace('"weight_map"', '"weights"'))
  await refused(t, folder, /weight_map is missing/)
  writeFileSync(indexPath, text.replace('"lm_head.weight"', '"model.norm.weight"'))
  await refused(t, folder, /duplicate key "model\.norm\.weight"/)
  writeFileSync(indexPath, text.slice(0, -5))
  await refused(t, folder, /index\.json:\d+:\d+: /)
  for (const content of ['[]', 'null', '', '{"weight_map": []}', `{"a":${'['.repeat(1e5)}`]) {
    t.throws(() => parseIndex(content, 'index.json'), { instanceOf: ModelFileError }, content.slice(0, 20))
  }
  writeFileSync(indexPath, text)
  await t.notThrowsAsync(load(folder))
  const shard = join(folder, index.weight_map['lm_head.weight']!)
  // What another shard holds as well is one tensor too many.
  cpSync(shard, join(folder, 'copy.safetensors'))
  write({ 'lm_head.weight': 'copy.safetensors' })
  await using twice = await Checkpoint.open(folder)
  t.regex(twice.warnings[0] ?? '', /tensors are not used by a .* policy: .*lm_head\.weight/)
  // A link to a shard of another folder.
  const elsewhere = join(temporaryFolder(t), 'shard.safetensors')
  renameSync(join(folder, 'copy.safetensors'), elsewhere)
  symlinkSync(elsewhere, join(folder, 'copy.safetensors'))
  await refused(t, folder, /copy\.safetensors: leads out of the folder/)
  unlinkSync(join(folder, 'copy.safetensors'))
  writeFileSync(indexPath, text)
  truncateSync(shard, 100)
  await refused(t, folder, new RegExp(`${index.weight_map['lm_head.weight']}: header of`))
  unlinkSync(shard)
  execFileSync('mkfifo', [shard])
  await refused(t, folder, /is a pipe/)
})

test('reading comes in small pieces, reports progress, and stops when asked', async t => {
  // 32 MiB of bfloat16 weights.
  const config = createPolicyConfig({ vocabSize: 65536, hiddenSize: 256, layers: 1 })
  const layout = parameterLayout(config)
  const flat = new Float32Array(layout.size)
  const folder = temporaryFolder(t)
  await writeCheckpoint(folder, config, flat, { dtype: 'bfloat16' })
  await using checkpoint = await Checkpoint.open(folder)
  const seen: string[] = []
  let most = 0
  const before = process.memoryUsage().arrayBuffers
  let largest = 0
  const take = (_: number, values: Float32Array) => {
    largest = Math.max(largest, values.byteLength)
  }
  await checkpoint.read(take, {
    onProgress: ({ tensors, totalTensors, name }) => {
      seen.push(`${tensors}/${totalTensors} ${name}`)
      most = Math.max(most, process.memoryUsage().arrayBuffers - before)
    },
  })
  t.is(seen.length, layout.parameters.length)
  t.is(seen.at(-1), `${seen.length}/${seen.length} model.norm.weight`)
  t.true(most < 8 << 20, `${most} bytes`)
  t.true(largest <= 1 << 20, `${largest} bytes`)
  await t.throwsAsync(checkpoint.read(take, { signal: AbortSignal.abort() }), { instanceOf: AbortedError })
})

test('other rotary options than those of the file', async t => {
  await using checkpoint = await Checkpoint.open(goldenFolder('qwen2-tied'), {
    ropeTheta: 5,
    maxPositions: 7,
  })
  t.like(checkpoint.config, { ropeTheta: 5, maxPositions: 7 })
})
