import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import test from 'ava'
import {
  CheckpointStore,
  type CheckpointStoreOptions,
  type CheckpointWriter,
  jsonWriter,
  verifyCheckpoint,
} from '../../lib/training/checkpoint.js'
import { runChild } from '../_helpers/child.js'
import { temporaryFolder } from '../_helpers/folders.js'

const SAVING_CHILD = new URL('./_checkpoint-child.js', import.meta.url)

function content(step: number): CheckpointWriter[] {
  return [
    jsonWriter('trainer_state.json', { step }),
    folder => writeFile(join(folder, 'model.safetensors'), Buffer.alloc(100_000, step)),
  ]
}

function storeOf(folder: string, options: Partial<CheckpointStoreOptions> = {}): CheckpointStore {
  return new CheckpointStore(folder, { keep: 3, ...options })
}

async function stepsOf(store: CheckpointStore): Promise<number[]> {
  return (await store.list()).map(checkpoint => checkpoint.step)
}

test('a checkpoint holds what its writers wrote and a manifest, and verifies', async t => {
  const folder = await temporaryFolder(t)
  const saved = await storeOf(folder).save(120, [
    ...content(120),
    async inner => {
      await mkdir(join(inner, 'a', 'b'), { recursive: true })
      await writeFile(join(inner, 'a', 'b', 'c.txt'), 'c')
    },
  ])
  t.is(saved.folder, join(folder, 'checkpoint-120'))
  t.is(saved.bytes, 100_000 + JSON.stringify({ step: 120 }, null, 2).length + 1 + 1)
  t.deepEqual((await readdir(saved.folder)).sort(), [
    'a',
    'manifest.json',
    'model.safetensors',
    'trainer_state.json',
  ])
  t.is(await verifyCheckpoint(saved.folder), undefined)
  const manifest = JSON.parse(await readFile(join(saved.folder, 'manifest.json'), 'utf8'))
  t.is(manifest.step, 120)
  t.deepEqual(Object.keys(manifest.files), ['a/b/c.txt', 'model.safetensors', 'trainer_state.json'])
  // sha256 of "c", from sha256sum.
  t.is(manifest.files['a/b/c.txt'].sha256, '2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6')
  t.deepEqual(await readdir(folder), ['checkpoint-120'])
})

test('every kind of damage is found and named', async t => {
  const cases: [string, (folder: string) => Promise<unknown>, RegExp][] = [
    [
      'bit flip',
      folder => writeFile(join(folder, 'model.safetensors'), Buffer.alloc(100_000, 6)),
      /model\.safetensors has sha256 /,
    ],
    [
      'truncated',
      folder => writeFile(join(folder, 'model.safetensors'), Buffer.alloc(99_999, 7)),
      /model\.safetensors has 99999 bytes, expected 100000/,
    ],
    ['missing', folder => rm(join(folder, 'trainer_state.json')), /trainer_state\.json is missing/],
    ['no manifest', folder => rm(join(folder, 'manifest.json')), /manifest\.json is missing/],
    [
      'torn manifest',
      folder => writeFile(join(folder, 'manifest.json'), '{"format":'),
      /manifest\.json: is not JSON/,
    ],
    ['zeros', folder => writeFile(join(folder, 'manifest.json'), Buffer.alloc(400)), /manifest\.json/],
    ['null', folder => writeFile(join(folder, 'manifest.json'), 'null'), /not a manifest/],
    [
      'link',
      async folder => {
        await rename(join(folder, 'model.safetensors'), join(folder, '..', 'moved'))
        await symlink(join('..', 'moved'), join(folder, 'model.safetensors'))
      },
      /model\.safetensors is not a regular file/,
    ],
    [
      'edited manifest',
      async folder => {
        const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))
        delete manifest.files['model.safetensors']
        await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest))
      },
      /does not match its own sha256/,
    ],
    [
      'unknown version',
      async folder => {
        const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))
        await writeFile(join(folder, 'manifest.json'), JSON.stringify({ ...manifest, version: 2 }))
      },
      /unknown format or version/,
    ],
  ]
  for (const [name, damage, expected] of cases) {
    const folder = await temporaryFolder(t)
    const store = storeOf(folder)
    await store.save(6, content(6))
    await store.save(7, content(7))
    const damaged = join(folder, 'checkpoint-7')
    await damage(damaged)
    t.regex((await verifyCheckpoint(damaged)) ?? '', expected, name)
    // A fresh process falls back to the one before, with a line that names the corrupt one and the reason.
    const { checkpoint, notices } = await storeOf(folder).resumePoint()
    t.is(checkpoint?.step, 6, name)
    t.is(notices.length, 1)
    t.true(notices[0]?.startsWith(`${damaged} is corrupt: `), notices[0])
    t.true(notices[0]?.endsWith(`falling back to ${join(folder, 'checkpoint-6')}`))
  }
})

test('a folder under another name does not verify', async t => {
  const folder = await temporaryFolder(t)
  await storeOf(folder).save(1, content(1))
  await rename(join(folder, 'checkpoint-1'), join(folder, 'checkpoint-9'))
  t.is(await verifyCheckpoint(join(folder, 'checkpoint-9')), 'manifest.json says step 1')
})

test('no checkpoint at all is a fresh start; none that verifies is an error, and nothing is deleted', async t => {
  const folder = await temporaryFolder(t)
  t.deepEqual(await storeOf(folder).resumePoint(), { checkpoint: undefined, notices: [] })
  for (const step of [1, 2]) {
    await storeOf(folder).save(step, content(step))
    await rm(join(folder, `checkpoint-${step}`, 'manifest.json'))
  }
  const error = await t.throwsAsync(storeOf(folder).resumePoint())
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', /no checkpoint verifies: .*checkpoint-2 is corrupt.*checkpoint-1 is corrupt/)
  t.deepEqual((await readdir(folder)).sort(), ['checkpoint-1', 'checkpoint-2'])
})

test('order is by step, as numbers', async t => {
  const folder = await temporaryFolder(t)
  const store = storeOf(folder, { keep: 10 })
  for (const step of [100, 9, 20]) await store.save(step, content(step % 256))
  await mkdir(join(folder, 'checkpoint-5.tmp-1'))
  await writeFile(join(folder, 'checkpoint-x'), '')
  t.deepEqual(await stepsOf(store), [100, 20, 9])
  t.is((await store.newestVerified()).checkpoint?.step, 100)
})

test('pruning keeps the newest, the best and the protected ones, and says what went', async t => {
  const folder = await temporaryFolder(t)
  const store = storeOf(folder, { keep: 2 })
  await store.save(1, content(1))
  await store.save(2, content(2))
  await store.markBest({ step: 2, metric: 'accuracy', value: 0.7 })
  t.deepEqual(await store.best(), { step: 2, metric: 'accuracy', value: 0.7 })
  for (const step of [3, 4]) await store.save(step, content(step), { protect: [1] })
  const { pruned } = await store.save(5, content(5), { protect: [1] })
  t.deepEqual(
    pruned.map(path => basename(path)),
    ['checkpoint-3'],
  )
  t.deepEqual(await stepsOf(store), [5, 4, 2, 1])
})

test('pruning neither counts nor removes what does not verify: crashes cannot push good ones out', async t => {
  const folder = await temporaryFolder(t)
  const store = storeOf(folder, { keep: 1 })
  await store.save(1, content(1))
  for (const step of [2, 3, 4]) {
    await mkdir(join(folder, `checkpoint-${step}`))
    await writeFile(join(folder, `checkpoint-${step}`, 'model.safetensors'), 'torn')
  }
  t.deepEqual(await store.prune(), [])
  t.is((await store.newestVerified()).checkpoint?.step, 1)
  // Damage after a verification in the same process is seen by size.
  await store.save(5, content(5), { protect: [1] })
  await writeFile(join(folder, 'checkpoint-5', 'model.safetensors'), 'torn')
  t.deepEqual(await store.prune(), [])
  t.deepEqual(await stepsOf(store), [5, 4, 3, 2, 1])
})

test('a checkpoint of the same step is replaced whole', async t => {
  const folder = await temporaryFolder(t)
  const store = storeOf(folder)
  await store.save(1, content(1))
  await store.save(1, [jsonWriter('other.json', { again: true })])
  t.deepEqual((await readdir(join(folder, 'checkpoint-1'))).sort(), ['manifest.json', 'other.json'])
  t.is(await verifyCheckpoint(join(folder, 'checkpoint-1')), undefined)
  t.deepEqual(await readdir(folder), ['checkpoint-1'])
})

test('a failing writer leaves the older checkpoints and nothing of its own', async t => {
  const folder = await temporaryFolder(t)
  const store = storeOf(folder)
  await store.save(1, content(1))
  const ours = new Error('the policy is disposed')
  const error = await t.throwsAsync(
    store.save(2, [
      ...content(2),
      () => {
        throw ours
      },
    ]),
  )
  t.is(error, ours)
  const missing = await t.throwsAsync(
    store.save(2, [inner => writeFile(join(inner, 'no', 'such', 'folder'), '')]),
  )
  t.is(missing?.name, 'CheckpointError')
  t.regex(missing?.message ?? '', /^ENOENT writing .*checkpoint-2/)
  const full = await t.throwsAsync(store.save(2, content(2), { expectedBytes: 2 ** 52 }))
  t.is(full?.name, 'CheckpointError')
  t.regex(full?.message ?? '', /need 4096\.0 TiB, free /)
  const link = await t.throwsAsync(store.save(2, [inner => symlink('/dev/null', join(inner, 'link'))]))
  t.regex(link?.message ?? '', /regular files only/)
  t.deepEqual(await readdir(folder), ['checkpoint-1'])
  t.is((await store.newestVerified()).checkpoint?.step, 1)
})

test('a run folder that vanished is an error with its code', async t => {
  const store = storeOf(join(await temporaryFolder(t), 'gone'))
  const error = await t.throwsAsync(store.save(1, content(1)))
  t.is(error?.name, 'CheckpointError')
  t.regex(error?.message ?? '', /ENOENT/)
})

test('nothing is replaced once the lock is lost', async t => {
  const folder = await temporaryFolder(t)
  let held = true
  const store = storeOf(folder, {
    assertHeld: () => {
      if (!held) throw new Error('lock lost')
    },
  })
  await store.save(1, content(1))
  const lose: CheckpointWriter = () => {
    held = false
  }
  await t.throwsAsync(store.save(1, [...content(9), lose]), { message: 'lock lost' })
  await t.throwsAsync(store.markBest({ step: 1, metric: 'a', value: 0 }), { message: 'lock lost' })
  t.is(JSON.parse(await readFile(join(folder, 'checkpoint-1', 'trainer_state.json'), 'utf8')).step, 1)
})

test('wrong arguments are named', async t => {
  const folder = await temporaryFolder(t)
  for (const keep of [0, -1, 1.5, Number.NaN]) {
    t.throws(() => storeOf(folder, { keep }), { instanceOf: RangeError, message: /^keep: / })
  }
  for (const step of [-1, 0.5, Number.NaN]) {
    await t.throwsAsync(storeOf(folder).save(step, []), { instanceOf: RangeError, message: /^step: / })
  }
})

test('dying between any two system calls leaves a checkpoint that loads, and the next start cleans up', async t => {
  const listed = await temporaryFolder(t)
  await storeOf(listed).save(1, content(1))
  const complete = await runChild(SAVING_CHILD, [listed], { LUFFY_FAULT: 'list' })
  t.is(complete.code, 0, complete.stderr)
  const passages = new Map<string, number>()
  const points: string[] = []
  for (const [, name] of complete.stdout.matchAll(/^fault (.*)$/gm)) {
    const passage = (passages.get(name as string) ?? 0) + 1
    passages.set(name as string, passage)
    points.push(`${name}:${passage}`)
  }
  for (const name of [
    'folder-made',
    'part-written',
    'content-synced',
    'manifest-written',
    'folder-synced',
    'old-moved',
    'folder-renamed',
    'parent-synced',
    'old-doomed',
    'old-removed',
    'file-written',
    'file-synced',
    'file-renamed',
  ]) {
    t.true(passages.has(name), `${name} is never passed`)
  }
  t.true(points.length > 60)

  async function dieAt(point: string): Promise<void> {
    const folder = await temporaryFolder(t)
    await storeOf(folder).save(1, content(1))
    const died = await runChild(SAVING_CHILD, [folder], { LUFFY_FAULT: point })
    if (died.signal !== 'SIGKILL') t.fail(`${point}: ended with ${died.code} ${died.signal} ${died.stderr}`)
    const saved = [...died.stdout.matchAll(/^saved (\d+)$/gm)].map(([, step]) => Number(step))

    const store = storeOf(folder, { keep: 1 })
    const { checkpoint, notices } = await store.resumePoint()
    const least = Math.max(1, ...saved)
    if (checkpoint === undefined || checkpoint.step < least)
      t.fail(`${point}: ${checkpoint?.step} after ${saved}`)
    if (notices.some(notice => notice.includes('corrupt'))) t.fail(`${point}: ${notices.join('; ')}`)
    const left = await readdir(folder)
    if (!left.every(name => /^(checkpoint-\d+|best\.json)$/.test(name))) t.fail(`${point}: left ${left}`)
    for (const { folder: kept } of await store.list()) {
      const reason = await verifyCheckpoint(kept)
      if (reason !== undefined) t.fail(`${point}: left ${kept}, where ${reason}`)
    }
    // The content is of that step, whole.
    const state = JSON.parse(await readFile(join(checkpoint!.folder, 'trainer_state.json'), 'utf8'))
    if (state.step !== checkpoint!.step) t.fail(`${point}: state of step ${state.step}`)
    // The best one, once recorded, is there.
    const best = await store.best()
    if (
      best !== undefined &&
      (await verifyCheckpoint(join(folder, `checkpoint-${best.step}`))) !== undefined
    ) {
      t.fail(`${point}: the best checkpoint is gone`)
    }
  }
  // Two at a time: one child per point, each a few tens of milliseconds.
  const waiting = [...points]
  await Promise.all(
    [0, 1].map(async () => {
      for (let point = waiting.shift(); point !== undefined; point = waiting.shift()) await dieAt(point)
    }),
  )

  // After a death in the middle, a new process goes on and ends where the undisturbed one ended.
  const resumed = await temporaryFolder(t)
  await storeOf(resumed).save(1, content(1))
  await runChild(SAVING_CHILD, [resumed], { LUFFY_FAULT: 'old-moved:1' })
  const second = await runChild(SAVING_CHILD, [resumed])
  t.regex(second.stdout, /^resumed 3\n/)
  t.deepEqual((await readdir(resumed)).sort(), (await readdir(listed)).sort())
  t.log(`${points.length} points, each survived`)
})
