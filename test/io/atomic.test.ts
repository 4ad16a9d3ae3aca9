import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import type { open } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { AbortedError, CheckpointError, DataError, ModelFileError } from '../../lib/errors.js'
import {
  checkFreeSpace,
  DurableFile,
  hashFile,
  renameDurable,
  syncDirectory,
  temporaryPath,
  writeError,
  writeFileDurable,
  writeFully,
} from '../../lib/io/atomic.js'
import { openRegularFile, plainFilePath, readRegularFile } from '../../lib/io/regular-file.js'
import { temporaryFolder } from '../_helpers/folders.js'

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex')

test('a file appears whole, with its size and sha256', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'state.json')
  for (const content of ['', '{"step": 1}', 'x'.repeat(3_000_000)]) {
    const record = await writeFileDurable(path, content)
    t.deepEqual(record, { name: 'state.json', bytes: content.length, sha256: sha256(content) })
    t.is(readFileSync(path, 'utf8'), content)
    t.deepEqual(await hashFile(path), record)
    t.deepEqual(readdirSync(folder), ['state.json'])
  }
})

test('a pipe or a device keeps its name, also behind a link', async t => {
  const folder = await temporaryFolder(t)
  spawnSync('mkfifo', [join(folder, 'pipe')])
  symlinkSync('pipe', join(folder, 'link'))
  for (const name of ['pipe', 'link']) {
    await t.throwsAsync(writeFileDurable(join(folder, name), 'x'), {
      instanceOf: CheckpointError,
      message: /is a device or a pipe, expected a regular file/,
    })
    t.true(statSync(join(folder, name)).isFIFO())
  }
  t.deepEqual(readdirSync(folder).sort(), ['link', 'pipe'])
})

test('until the commit the old file is there, and after an abort too', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'x')
  writeFileSync(path, 'old')
  const file = await DurableFile.create(path)
  t.is(readdirSync(folder).length, 2)
  await file.write(Buffer.from('ne'))
  await file.write(Buffer.from('w'))
  t.is(file.bytes, 3)
  t.is(readFileSync(path, 'utf8'), 'old')
  await file.abort()
  t.deepEqual(readdirSync(folder), ['x'])
  t.is(readFileSync(path, 'utf8'), 'old')

  const other = await DurableFile.create(path, { sha256: false })
  await other.write(Buffer.from('new'))
  t.is((await other.commit()).sha256, '')
  await other.abort()
  t.is(readFileSync(path, 'utf8'), 'new')
})

test('two writers at once: one of them wins, whole', async t => {
  const path = join(await temporaryFolder(t), 'x')
  const contents = Array.from({ length: 8 }, (_, i) => String(i).repeat(200_000))
  await Promise.all(contents.map(content => writeFileDurable(path, content)))
  t.true(contents.includes(readFileSync(path, 'utf8')))
  t.not(temporaryPath(path), temporaryPath(path))
})

test('a short write goes on, and a full disk is told with what it needs', async t => {
  const written: number[] = []
  let room = 10
  // Takes three bytes at a time, until there is no room.
  const handle = {
    write: async (_: Uint8Array, offset: number, length: number) => {
      if (room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
      const bytesWritten = Math.min(3, length, room)
      room -= bytesWritten
      written.push(offset)
      return { bytesWritten }
    },
  } as unknown as Awaited<ReturnType<typeof open>>
  await writeFully(handle, new Uint8Array(7))
  t.deepEqual(written, [0, 3, 6])
  const error = await t.throwsAsync(writeFully(handle, new Uint8Array(7)))
  const told = await writeError(error, join(await temporaryFolder(t), 'x'), 3 * 2 ** 30)
  t.true(CheckpointError.isInstance(told))
  t.regex(told.message, /^ENOSPC writing .*: need 3\.0 GiB, free \d.*; make room/)
  t.is(told.details?.errno, 'ENOSPC')
})

test('a disk of 64 KiB: the error, and the old file as it was', async t => {
  const folder = await temporaryFolder(t)
  // A file size limit stands for the disk: it needs no rights. Node ignores the signal, so write fails with EFBIG.
  const module = new URL('../../lib/io/atomic.js', import.meta.url).href
  const script = `
    const { writeFileDurable } = await import(${JSON.stringify(module)})
    const path = ${JSON.stringify(join(folder, 'x'))}
    await writeFileDurable(path, 'old')
    try { await writeFileDurable(path, 'n'.repeat(1 << 20)) } catch (error) { console.log(error.name, error.details.errno) }`
  const command = `ulimit -f 64; exec "$0" --input-type=module -e "$1"`
  const { stdout, stderr } = spawnSync('bash', ['-c', command, process.execPath, script], {
    encoding: 'utf8',
  })
  t.is(stdout.trim(), 'CheckpointError EFBIG', stderr)
  t.is(readFileSync(join(folder, 'x'), 'utf8'), 'old')
  t.deepEqual(readdirSync(folder), ['x'])
})

test('errors name the file and the errno', async t => {
  const folder = await temporaryFolder(t)
  const missing = await t.throwsAsync(writeFileDurable(join(folder, 'no', 'x'), ''), {
    instanceOf: CheckpointError,
  })
  t.is(missing?.details?.errno, 'ENOENT')
  mkdirSync(join(folder, 'taken', 'full'), { recursive: true })
  const taken = await t.throwsAsync(writeFileDurable(join(folder, 'taken'), ''), {
    instanceOf: CheckpointError,
  })
  t.is(taken?.details?.errno, 'EISDIR')
  t.deepEqual(readdirSync(folder), ['taken'])
  await t.throwsAsync(hashFile(join(folder, 'none')), { instanceOf: CheckpointError, message: /ENOENT/ })
  writeFileSync(join(folder, 'x'), 'x')
  const aborted = hashFile(join(folder, 'x'), AbortSignal.abort())
  await t.throwsAsync(aborted, { instanceOf: AbortedError })
  await t.throwsAsync(renameDurable(join(folder, 'none'), join(folder, 'y')), { instanceOf: CheckpointError })
  const kept = new DataError('row 3')
  t.is(await writeError(kept, 'x', 0), kept)
})

test('folders get their final name', async t => {
  const folder = await temporaryFolder(t)
  mkdirSync(join(folder, 'a.tmp-1'))
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, 'a.tmp-1', 'x'), 'x')
  await syncDirectory(join(folder, 'a.tmp-1'))
  await renameDurable(join(folder, 'a.tmp-1'), join(folder, 'sub', 'a'))
  t.true(existsSync(join(folder, 'sub', 'a', 'x')))
})

test('room is asked for before anything is written', async t => {
  const folder = await temporaryFolder(t)
  await t.notThrowsAsync(checkFreeSpace(folder, 1000))
  const error = await t.throwsAsync(checkFreeSpace(folder, 2 ** 60), { instanceOf: CheckpointError })
  t.regex(error!.message, /need 1048576\.0 TiB, free/)
  // Nothing is known about a folder that is not there; writing will tell.
  await t.notThrowsAsync(checkFreeSpace(join(folder, 'none'), 2 ** 60))
})

test('readers take regular files of a bounded size', async t => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'x')
  writeFileSync(path, 'abc')
  t.is((await readRegularFile(path, 3)).toString(), 'abc')
  await t.throwsAsync(readRegularFile(path, 2), {
    instanceOf: ModelFileError,
    message: /3 bytes, expected at most 2/,
  })
  await t.throwsAsync(readRegularFile(folder, 9, { error: DataError }), {
    instanceOf: DataError,
    message: /a folder/,
  })
  const { handle, size } = await openRegularFile(path, { within: folder })
  await handle.close()
  t.is(size, 3)
  if (process.getuid?.() !== 0) {
    chmodSync(path, 0)
    await t.throwsAsync(readRegularFile(path, 3), { instanceOf: ModelFileError, message: /EACCES/ })
  }
  t.is(plainFilePath('/m', 'a.bin'), '/m/a.bin')
  for (const name of ['', '.', '..', 'a/b', '/a', 'a\\b', 'a\0']) t.is(plainFilePath('/m', name), undefined)
})
