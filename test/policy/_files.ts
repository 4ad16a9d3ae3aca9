// Files for tests of the readers: raw safetensors bytes that break one rule at a time, temporary folders, golden ones.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import type { SafetensorsRule } from '../../lib/policy/safetensors.js'

/** A folder that is gone when the test ends. */
export function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'luffy-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

// Tests run from dist/test/policy; the golden files are not compiled.
const golden = fileURLToPath(new URL('../../../test/golden/policies/', import.meta.url))

export const goldenPolicies = ['qwen2-tied', 'qwen3-head-dim', 'llama-untied'] as const

export function goldenFolder(name: (typeof goldenPolicies)[number]): string {
  return join(golden, name)
}

/** A file from the text or bytes of its header, the number of data bytes, and the length it claims for the header. */
export function rawFile(header: string | Uint8Array, dataBytes = 0, claimed?: bigint): Buffer {
  const text = Buffer.from(header)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(claimed ?? BigInt(text.byteLength))
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)])
}

/** One F32 tensor's JSON. */
export function entry(begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32'): string {
  return JSON.stringify({ dtype, shape, data_offsets: [begin, end] })
}

export interface BadFile {
  name: string
  bytes: Uint8Array
  rule: SafetensorsRule
  /** What the message must name. */
  says?: string
}

/** Files that each break one rule of the format. */
export function badSafetensors(): BadFile[] {
  const files: BadFile[] = []
  const add = (rule: SafetensorsRule, name: string, bytes: Uint8Array, says?: string) => {
    files.push({ name, bytes, rule, ...(says === undefined ? {} : { says }) })
  }
  const json = (name: string, header: string, dataBytes = 0, says?: string) =>
    add('header-json', name, rawFile(header, dataBytes), says)

  for (const size of [0, 1, 4, 7]) add('file-too-small', `${size} bytes`, Buffer.alloc(size), `${size} bytes`)
  for (const length of [0n, 1n]) add('header-length', `header of ${length}`, rawFile('{}', 0, length))
  for (const length of [3n, 1000n, 99_999_999n, 100_000_000n]) {
    add('header-length', `header of ${length} in 10 bytes`, rawFile('{}', 0, length), `${length} bytes`)
  }
  for (const length of [100_000_001n, 2n ** 32n + 2n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    add('header-too-large', `header of ${length}`, rawFile('{}', 0, length), `${length} bytes`)
  }
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 988097824\n`
  add('git-lfs-pointer', 'Git LFS pointer', Buffer.from(pointer), 'git lfs pull')

  add('header-json', 'not UTF-8', rawFile(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])), 'UTF-8')
  add('header-json', 'overlong UTF-8', rawFile(Buffer.from([0x7b, 0x22, 0xc0, 0x80, 0x22, 0x7d])), 'UTF-8')
  json('byte order mark', '\ufeff{}', 0, 'byte order mark')
  for (const text of ['[]', '""', 'null', '12', 'true', '  ', '{ ', '}{', '\0\0'])
    json(`header ${text}`, text)
  json('two objects', '{}{}', 0, 'end of the text')
  json('garbage after', '{} x', 0, '"x"')
  json('zero bytes after', '{}\0\0')
  json('trailing comma', `{"a":${entry(0, 4)},}`, 4)
  json('missing comma', `{"a":${entry(0, 4)} "b":${entry(4, 8)}}`, 8, '","')
  json('missing colon', `{"a" ${entry(0, 4)}}`, 4, '":"')
  json('single quotes', `{'a':${entry(0, 4)}}`, 4, 'double quotes')
  json('key without quotes', `{a:${entry(0, 4)}}`, 4)
  json('comment', `{/* a */"a":${entry(0, 4)}}`, 4)
  json('unclosed string', '{"a', 0, 'inside a string')
  json('unclosed escape', '{"a\\', 0, 'inside a string')
  json('wrong escape', `{"a\\x":${entry(0, 4)}}`, 4, 'escape')
  json('short unicode escape', `{"a\\u12":${entry(0, 4)}}`, 4, 'escape')
  json('half a surrogate pair', `{"a\\ud800":${entry(0, 4)}}`, 4, 'surrogate')
  json('newline in a name', `{"a\n":${entry(0, 4)}}`, 4, 'control character')
  json('nested arrays', `{"a":${'['.repeat(1_000_000)}`, 0)
  add('entry-fields', 'nested objects', rawFile('{"a":'.repeat(1_000_000)), 'unknown field')
  json('nested in shape', `{"a":{"dtype":"F32","shape":[[[[1]]]],"data_offsets":[0,4]}}`, 4)
  json('duplicate tensor', `{"same":${entry(0, 4)},"same":${entry(4, 8)}}`, 8, 'same')
  json('duplicate by escape', `{"same":${entry(0, 4)},"s\\u0061me":${entry(4, 8)}}`, 8, 'same')
  json('duplicate dtype', `{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4, 'dtype')
  json('duplicate offsets', `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}}`, 4)
  json('duplicate metadata', '{"__metadata__":{},"__metadata__":{}}', 0, '__metadata__')
  json('duplicate metadata key', '{"__metadata__":{"a":"1","a":"2"}}')
  json('metadata of numbers', '{"__metadata__":{"a":1}}', 0, 'a string')
  json('metadata of objects', '{"__metadata__":{"a":{}}}')
  json('metadata is an array', '{"__metadata__":[]}')
  json('metadata is null', '{"__metadata__":null}')

  for (const value of ['null', '3', '"F32"', '[]', 'true']) json(`entry is ${value}`, `{"a":${value}}`)
  for (const value of ['null', '32', '["F32"]', '{}']) {
    json(`dtype is ${value}`, `{"a":{"dtype":${value},"shape":[1],"data_offsets":[0,4]}}`, 4)
  }
  for (const value of [
    '-1',
    '1.0',
    '1e3',
    '1.5',
    '"1"',
    'null',
    '9007199254740993',
    '9007199254740992',
    '01',
    '-0',
  ]) {
    json(`dimension ${value}`, `{"a":{"dtype":"F32","shape":[${value}],"data_offsets":[0,4]}}`, 4)
  }
  json(
    'dimension of 500 digits',
    `{"a":{"dtype":"F32","shape":[${'9'.repeat(500)}],"data_offsets":[0,4]}}`,
    4,
  )
  json('dimension 1e999', '{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', 4)
  for (const value of ['NaN', 'Infinity', '0x4', '+4', '.5', '4.']) {
    json(`offset ${value}`, `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,${value}]}}`, 4)
  }
  for (const value of [
    '4',
    'null',
    '{"0":0,"1":4}',
    '["0","4"]',
    '[0,4.0]',
    '[-4,4]',
    '[0,18446744073709551615]',
  ]) {
    json(`data_offsets ${value}`, `{"a":{"dtype":"F32","shape":[1],"data_offsets":${value}}}`, 4)
  }
  const fields = (name: string, text: string, says: string) =>
    add('entry-fields', name, rawFile(text, 4), says)
  fields('empty entry', '{"a":{}}', 'dtype')
  fields('no shape', '{"a":{"dtype":"F32","data_offsets":[0,4]}}', 'shape')
  fields('no dtype', '{"a":{"shape":[1],"data_offsets":[0,4]}}', 'dtype')
  fields('no offsets', '{"a":{"dtype":"F32","shape":[1]}}', 'data_offsets')
  fields('unknown field', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}}', 'strides')
  fields(
    'prototype field',
    '{"a":{"__proto__":{"dtype":"F32"},"shape":[1],"data_offsets":[0,4]}}',
    '__proto__',
  )

  for (const dtype of ['F31', '', 'f32', 'constructor', '__proto__', 'float32']) {
    add('dtype', `dtype "${dtype}"`, rawFile(`{"a":${entry(0, 4, [1], dtype)}}`, 4), 'unknown')
  }
  for (const dtype of [
    'BOOL',
    'I8',
    'F8_E4M3',
    'F8_E5M2',
    'I16',
    'U16',
    'U32',
    'U64',
    'C64',
    'F4',
    'F6_E2M3',
  ]) {
    add('dtype', `dtype ${dtype}`, rawFile(`{"a":${entry(0, 4, [1], dtype)}}`, 4), 'not supported')
  }
  add('shape', 'rank 65', rawFile(`{"a":${entry(0, 4, Array(65).fill(1))}}`, 4))
  add('shape', 'rank of a million', rawFile(`{"a":{"dtype":"F32","shape":[${'1,'.repeat(1e6)}1]}}`))
  const big = Number.MAX_SAFE_INTEGER
  for (const shape of [[big], [big, 2], [2 ** 31, 2 ** 31], [2 ** 32, 2 ** 32, 0], [big, big, big, big]]) {
    add('overflow', `shape [${shape}]`, rawFile(`{"a":${entry(0, 4, shape)}}`, 4), 'overflow')
  }
  for (const span of ['[]', '[0]', '[4,0]']) {
    add('offsets', `offsets ${span}`, rawFile(`{"a":{"dtype":"F32","shape":[1],"data_offsets":${span}}}`, 4))
  }
  add('offsets', 'three offsets', rawFile('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}', 4))
  for (const [begin, end, shape] of [
    [0, 4, [2]],
    [0, 8, [1]],
    [0, 4, [0]],
    [0, 0, [1]],
    [0, 0, []],
    [0, 3, [1]],
    [0, 12, [2, 2]],
  ] as const) {
    add(
      'tensor-bytes',
      `[${begin}, ${end}] for [${shape}]`,
      rawFile(`{"a":${entry(begin, end, [...shape])}}`, end),
      '"a"',
    )
  }
  add('tensor-bytes', 'F16 sized as F32', rawFile(`{"a":${entry(0, 4, [1], 'F16')}}`, 4))

  const two = (a: string, b: string, dataBytes: number) => rawFile(`{"first":${a},"second":${b}}`, dataBytes)
  add('overlap', 'same bytes', two(entry(0, 8), entry(0, 8), 8), 'second')
  add('overlap', 'one byte', two(entry(0, 4), entry(3, 7), 7), 'second')
  add('overlap', 'inside', two(entry(0, 16), entry(4, 8), 16), 'second')
  add('overlap', 'an empty tensor inside', two(entry(0, 8), entry(4, 4), 8), 'second')
  add('hole', 'first does not begin at 0', rawFile(`{"late":${entry(4, 8)}}`, 8), 'late')
  add('hole', 'between', two(entry(0, 4), entry(8, 12), 12), 'second')
  add('hole', 'one byte', two(entry(0, 4), entry(5, 9), 9), 'second')
  add('hole', 'an empty tensor after a hole', two(entry(0, 4), entry(8, 8), 8), 'second')
  add('past-end', 'cut by one byte', rawFile(`{"a":${entry(0, 8)}}`, 7), 'not complete')
  add('past-end', 'no data', rawFile(`{"a":${entry(0, 8)}}`, 0), '"a"')
  add('past-end', 'a terabyte', rawFile(`{"a":${entry(0, 2 ** 40)}}`, 16), '"a"')
  add('past-end', 'petabytes', rawFile(`{"a":${entry(0, 2 ** 52)}}`, 16), '"a"')
  add('past-end', 'second tensor', two(entry(0, 4), entry(4, 4004), 8), 'second')
  add('trailing-bytes', 'one byte', rawFile(`{"a":${entry(0, 4)}}`, 5), '1 bytes')
  add('trailing-bytes', 'no tensors', rawFile('{}', 1))
  add('trailing-bytes', 'after metadata', rawFile('{"__metadata__":{"format":"pt"}}', 64))
  add('trailing-bytes', 'an archive behind', rawFile(`{"a":${entry(0, 4)}}`, 4096))
  const many = Array.from({ length: (1 << 17) + 1 }, (_, i) => `"${i}":${entry(0, 0, [0])}`)
  add('too-many-tensors', '2^17 + 1 tensors', rawFile(`{${many.join(',')}}`))
  return files
}
