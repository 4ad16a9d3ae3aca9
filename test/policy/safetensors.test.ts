import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { LuffyError, ModelFileError } from '../../lib/errors.js'
import {
  parseHeaderLength,
  parseSafetensorsHeader,
  type SafetensorsDtype,
} from '../../lib/policy/safetensors.js'
import { SafetensorsFile, type TensorData } from '../../lib/policy/safetensors-read.js'
import { type TensorToWrite, writeSafetensors } from '../../lib/policy/safetensors-write.js'
import { badSafetensors, entry, goldenFolder, goldenPolicies, rawFile, temporaryFolder } from './_files.js'

// What `SafetensorsFile.open` does with a file's bytes, without the file.
function parse(bytes: Uint8Array) {
  const length = parseHeaderLength(bytes.subarray(0, 64), bytes.byteLength, 'x.safetensors')
  return parseSafetensorsHeader(bytes.subarray(8, 8 + length), bytes.byteLength, 'x.safetensors')
}

// Alone, because it is timed.
test.serial('every broken rule is named, at once, and nothing is allocated by a claimed size', async t => {
  const folder = temporaryFolder(t)
  const files = badSafetensors()
  t.true(files.length >= 120, `found ${files.length} bad files`)
  for (const [index, { name, bytes, rule, says }] of files.entries()) {
    const path = join(folder, `${index}.safetensors`)
    writeFileSync(path, bytes)
    const buffersBefore = process.memoryUsage().arrayBuffers
    const start = process.cpuUsage()
    const error = await t.throwsAsync(SafetensorsFile.open(path), { instanceOf: ModelFileError }, name)
    const { user, system } = process.cpuUsage(start)
    const elapsed = (user + system) / 1000
    const grown = process.memoryUsage().arrayBuffers - buffersBefore
    t.is(error?.details?.rule, rule, `${name}: ${error?.message}`)
    t.true(error?.message.includes(`${index}.safetensors`), error?.message)
    if (says !== undefined)
      t.true(error?.message.includes(says), `${name}: expected "${says}" in "${error?.message}"`)
    t.true(error!.message.length < 700, `${name}: a message of ${error?.message.length} characters`)
    // Only the file with 2^17 good tensors before the bad one needs longer than a moment.
    t.true(elapsed < (rule === 'too-many-tensors' ? 20_000 : 500), `${name}: ${elapsed} ms`)
    t.true(grown < 2 * bytes.byteLength + (1 << 20), `${name}: ${grown} bytes of buffers`)
  }
})

test('what the format allows is read', t => {
  t.is(parse(rawFile('{}')).tensors.size, 0)
  t.is(parse(rawFile(' \n\t{ }  \r\n')).tensors.size, 0)
  t.is(parse(rawFile('{"__metadata__":{"format":"pt","a":""}}')).metadata.get('format'), 'pt')
  const scalar = parse(rawFile(`{"a":${entry(0, 4, [])}}`, 4)).tensors.get('a')
  t.deepEqual(scalar, { name: 'a', dtype: 'F32', shape: [], size: 1, offset: scalar!.offset, bytes: 4 })
  const empty = parse(
    rawFile(`{"full":${entry(0, 4)},"none":${entry(0, 0, [0, 7])},"last":${entry(4, 4, [0])}}`, 4),
  )
  t.is(empty.tensors.get('none')?.size, 0)
  // The order in the header is not the order of the data.
  const unordered = parse(rawFile(`{"b":${entry(4, 12)},"a":${entry(0, 4)}}`, 12))
  t.deepEqual([...unordered.tensors.keys()], ['b', 'a'])
  t.is(unordered.tensors.get('b')!.offset - unordered.tensors.get('a')!.offset, 4)
  for (const name of ['__proto__', 'constructor', '', '\u{1f600}', 'a/../b', '12']) {
    t.true(parse(rawFile(`{${JSON.stringify(name)}:${entry(0, 4)}}`, 4)).tensors.has(name), name)
  }
  t.is(({} as Record<string, unknown>).dtype, undefined)
})

test('only regular files are opened, and nothing waits for a pipe', async t => {
  const folder = temporaryFolder(t)
  const pipe = join(folder, 'pipe.safetensors')
  execFileSync('mkfifo', [pipe])
  const outside = join(temporaryFolder(t), 'real.safetensors')
  writeFileSync(outside, rawFile('{}'))
  const link = join(folder, 'link.safetensors')
  symlinkSync(outside, link)
  const broken = join(folder, 'broken.safetensors')
  symlinkSync(join(folder, 'nothing'), broken)
  const loop = join(folder, 'loop.safetensors')
  symlinkSync(loop, loop)
  for (const [path, says] of [
    [pipe, 'a pipe'],
    ['/dev/zero', 'a device'],
    [folder, 'a folder'],
    [join(folder, 'absent'), 'no such file'],
    [broken, 'which is not there'],
    [loop, 'ELOOP'],
  ] as const) {
    const error = await t.throwsAsync(SafetensorsFile.open(path), { instanceOf: ModelFileError }, path)
    t.true(error?.message.includes(says), error?.message)
  }
  await (await SafetensorsFile.open(link)).close()
  const error = await t.throwsAsync(SafetensorsFile.open(link, { within: folder }), {
    instanceOf: ModelFileError,
  })
  t.regex(error!.message, /leads out of the folder/)
})

test('a file that shrinks after it was opened is an error, not a hang', async t => {
  const path = join(temporaryFolder(t), 'shrinks.safetensors')
  const bytes = rawFile(`{"a":${entry(0, 4096)}}`, 4096)
  writeFileSync(path, bytes)
  await using file = await SafetensorsFile.open(path)
  writeFileSync(path, bytes.subarray(0, 2000))
  const error = await t.throwsAsync(file.readFloat32('a', new Float32Array(1024)), {
    instanceOf: ModelFileError,
  })
  t.regex(error!.message, /ends at byte 2000/)
})

test('golden files are read as their bytes say', async t => {
  for (const name of goldenPolicies) {
    for (const part of ['model', 'expected']) {
      const path = join(goldenFolder(name), `${part}.safetensors`)
      const bytes = readFileSync(path)
      // The plain reading: JSON.parse and slices.
      const length = Number(bytes.readBigUInt64LE(0))
      const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
      delete header.__metadata__
      await using file = await SafetensorsFile.open(path)
      t.deepEqual([...file.tensors.keys()].sort(), Object.keys(header).sort())
      for (const [key, { shape, data_offsets }] of Object.entries<{
        shape: number[]
        data_offsets: number[]
      }>(header)) {
        const read = await file.read(key)
        t.deepEqual(read.shape, shape)
        const values = read.data as Float32Array
        const slice = bytes.subarray(8 + length + data_offsets[0]!, 8 + length + data_offsets[1]!)
        t.true(Buffer.from(values.buffer).equals(slice), key)
      }
    }
  }
})

const arrays: Record<string, (size: number) => TensorData> = {
  F32: size => Float32Array.from({ length: size }, (_, i) => i * 0.37 - 5),
  F64: size => Float64Array.from({ length: size }, (_, i) => i / 3),
  I32: size => Int32Array.from({ length: size }, (_, i) => i - 7),
  I64: size => BigInt64Array.from({ length: size }, (_, i) => BigInt(i) - 3n),
  U8: size => Uint8Array.from({ length: size }, (_, i) => i),
  F16: size => Uint16Array.from({ length: size }, (_, i) => i),
  BF16: size => Uint16Array.from({ length: size }, (_, i) => i),
}

test('what is written is read back: any names, types, shapes and metadata', async t => {
  const folder = temporaryFolder(t)
  const tensor = fc.record({
    name: fc.string({ unit: 'binary', maxLength: 12 }),
    dtype: fc.constantFrom(...(Object.keys(arrays) as SafetensorsDtype[])),
    shape: fc.array(fc.nat(5), { maxLength: 4 }),
  })
  const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 })
  const metadata = fc.dictionary(fc.string(), fc.string({ unit: 'binary' }), { maxKeys: 3 })
  await fc.assert(
    fc.asyncProperty(tensors, metadata, async (described, written) => {
      const path = join(folder, 'round.safetensors')
      const list: TensorToWrite[] = described
        .filter(({ name }) => name !== '__metadata__')
        .map(({ name, dtype, shape }) => {
          const data = arrays[dtype]!(shape.reduce((a, b) => a * b, 1))
          return { name, dtype, shape, data }
        })
      const record = await writeSafetensors(path, list, { metadata: written })
      const bytes = readFileSync(path)
      t.is(record.bytes, bytes.byteLength)
      t.is(Number(bytes.readBigUInt64LE(0)) % 8, 0)
      await using file = await SafetensorsFile.open(path)
      t.deepEqual(
        [...file.tensors.keys()],
        list.map(({ name }) => name),
      )
      t.deepEqual(new Map(file.metadata), new Map(Object.entries(written)))
      for (const { name, shape, data } of list)
        t.deepEqual(await file.read(name), { data: data as TensorData, shape })
    }),
    { numRuns: 60, seed: 7 },
  )
})

test('large tensors are read and written in pieces, and converted', async t => {
  const path = join(temporaryFolder(t), 'large.safetensors')
  // More than one piece and not a whole number of them.
  const size = 300_007
  const values = Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(i) * 100))
  const asked: number[] = []
  const pieces = (start: number, count: number) => {
    asked.push(start)
    return values.slice(start, start + count)
  }
  await writeSafetensors(path, [
    { name: 'f32', dtype: 'F32', shape: [size], data: values },
    { name: 'f16', dtype: 'F16', shape: [size], data: values },
    { name: 'bf16', dtype: 'BF16', shape: [size], data: pieces },
  ])
  t.true(asked.length > 1)
  await using file = await SafetensorsFile.open(path)
  t.is(file.metadata.get('format'), 'pt')
  for (const [name, relative] of [
    ['f32', 0],
    ['f16', 2 ** -11],
    ['bf16', 2 ** -8],
  ] as const) {
    const read = new Float32Array(size)
    t.is(await file.readFloat32(name, read), 0)
    for (let i = 0; i < size; ++i) {
      const bound = relative * Math.abs(values[i]!) + (name === 'f16' ? 2 ** -25 : 0)
      if (!(Math.abs(read[i]! - values[i]!) <= bound))
        t.fail(`${name}[${i}]: got ${read[i]}, expected ${values[i]}`)
    }
  }
})

test('non-finite values are counted; a caller may stop', async t => {
  const path = join(temporaryFolder(t), 'bad.safetensors')
  const data = Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, -Number.MAX_VALUE, 3e38, -0)
  await writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [6], data }])
  await using file = await SafetensorsFile.open(path)
  const read = new Float32Array(6)
  t.is(await file.readFloat32('a', read), 3)
  t.deepEqual(read, data)
  const error = await t.throwsAsync(file.readFloat32('a', read, { signal: AbortSignal.abort() }))
  t.true(LuffyError.isInstance(error) && error.code === 'ABORTED')
  await t.throwsAsync(file.readFloat32('a', new Float32Array(5)), { instanceOf: RangeError })
  await t.throwsAsync(file.readFloat32('b', read), { instanceOf: ModelFileError, message: /no tensor "b"/ })
})

test('a file that nobody could read is not written', async t => {
  const folder = temporaryFolder(t)
  const path = join(folder, 'x.safetensors')
  const data = new Float32Array(1)
  const one = (name: string): TensorToWrite => ({ name, dtype: 'F32', shape: [1], data })
  await t.throwsAsync(writeSafetensors(path, [one('__metadata__')]), { instanceOf: ModelFileError })
  await t.throwsAsync(writeSafetensors(path, [one('a'), one('a')]), { instanceOf: ModelFileError })
  await t.throwsAsync(writeSafetensors(path, [{ ...one('a'), shape: [2] }]), { instanceOf: RangeError })
  await t.throwsAsync(writeSafetensors(path, [{ ...one('a'), shape: [1.5] }]), { instanceOf: RangeError })
  await t.throwsAsync(writeSafetensors(path, [{ ...one('a'), data: new Int32Array(1) }]), {
    instanceOf: TypeError,
  })
  const large = { ...one('a'), dtype: 'F16' as const, data: Float32Array.of(70000) }
  await t.throwsAsync(writeSafetensors(path, [large]), { message: /too large for F16/ })
  const failing = { ...one('a'), data: () => Promise.reject(new Error('device lost')) }
  await t.throwsAsync(writeSafetensors(path, [failing]), { message: 'device lost' })
  t.deepEqual(readdirSync(folder), [])
})

test('twenty thousand mutations of good files: read, or refused as a ModelFileError', t => {
  const seeds = [
    rawFile(
      `{"__metadata__":{"format":"pt"},"a":${entry(0, 24, [2, 3])},"b.c":${entry(24, 32, [4], 'F16')}}`,
      32,
    ),
    readFileSync(join(goldenFolder('qwen2-tied'), 'model.safetensors')).subarray(0, 4000),
    rawFile(`{"none":${entry(0, 0, [0])},"scalar":${entry(0, 4, [])}}`, 4),
  ]
  const pieces = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '-',
    '.',
    'e',
    '0',
    '9007199254740993',
    'null',
    '"a"',
    '\0',
    '\xff',
  ]
  const edit = fc.record({
    at: fc.nat(),
    remove: fc.nat(9),
    insert: fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3 }), fc.constant('')),
  })
  let refused = 0
  let tried = 0
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (seed, edits, fix) => {
        let bytes: Buffer = seed
        const header = Number(seed.readBigUInt64LE(0))
        for (const { at, remove, insert } of edits) {
          // Most edits hit the header; with `fix` its length stays true, so that the JSON is reached.
          const place = fix ? 8 + (at % header) : at % Math.min(bytes.length, header + 16)
          bytes = Buffer.concat([
            bytes.subarray(0, place),
            Buffer.from(insert, 'latin1'),
            bytes.subarray(place + remove),
          ])
        }
        if (fix && bytes.length >= 8) bytes.writeBigUInt64LE(BigInt(header + bytes.length - seed.length))
        ++tried
        try {
          parse(bytes)
        } catch (error) {
          ++refused
          if (!ModelFileError.isInstance(error)) throw error
        }
      },
    ),
    { numRuns: 20_000, seed: 11, endOnFailure: true },
  )
  t.is(tried, 20_000)
  t.true(refused > 10_000, `${refused} refused`)
})
