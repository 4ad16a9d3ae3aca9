// Fingerprints of data files: the content decides, wherever the change is; of large files the pieces that are read.
import { ftruncateSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { fingerprint } from '../../lib/data/fingerprint.js'
import { DataError } from '../../lib/errors.js'
import { temporaryFolder } from '../_helpers/folders.js'

test('the content decides', async t => {
  const path = join(await temporaryFolder(t), 'a.jsonl')
  const of = async (content: string | Buffer) => {
    writeFileSync(path, content)
    return await fingerprint(path)
  }
  const text = 'x'.repeat(3_000_000)
  const first = await of(text)
  t.regex(first, /^[0-9a-f]{64}$/)
  t.is(await of(text), first)
  for (const at of [0, 1_500_000, 2_999_999]) {
    const changed = Buffer.from(text)
    changed[at] = 121
    t.not(await of(changed), first, `byte ${at}`)
  }
  t.not(await of(`${text}x`), first)
  t.regex(await of(''), /^[0-9a-f]{64}$/)
  rmSync(path)
  await t.throwsAsync(fingerprint(path), { instanceOf: DataError, message: /no such file/ })
})

test('of a large file its size, its first and its last bytes are seen, in little time', async t => {
  const path = join(await temporaryFolder(t), 'large')
  const file = openSync(path, 'w+')
  const size = 2 ** 33 // with a hole: it takes no room
  ftruncateSync(file, size)
  const before = process.cpuUsage()
  const empty = await fingerprint(path)
  const { user, system } = process.cpuUsage(before)
  t.true(user + system < 2e6, `${user + system} us`)
  for (const at of [0, size - 1]) {
    writeSync(file, 'x', at)
    t.not(await fingerprint(path), empty, `byte ${at}`)
    writeSync(file, '\0', at)
  }
  t.is(await fingerprint(path), empty)
  ftruncateSync(file, size + 1)
  t.not(await fingerprint(path), empty)
})
