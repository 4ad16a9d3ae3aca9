// What every kernel reads and writes, against what it must and against the committed record (scripts/kernel-traffic.mjs).
// As PTX (EMULATOR_LEG=ptx) the compiler may save loads: there only the gates hold.
import { readFileSync } from 'node:fs'
import test from 'ava'
import { buildEmulated } from '../_helpers/emulator.js'
import { architectures, budgets, findBudget, occupancy } from './_budgets.js'
import { missingReason } from './_programs.js'
import {
  baseName,
  brokenGates,
  changes,
  type KernelRecord,
  measureTraffic,
  readRecord,
  type TrafficCase,
  type TrafficRecord,
  uncounted,
} from './_traffic.js'
import { isPtx, trafficCases } from './_traffic-cases.js'
import { boundBy, documentPath, documentWith, kernelTable } from './_traffic-table.js'

const renew = 'if it is meant: npx tsc && node scripts/kernel-traffic.mjs --write'

test('every kernel has a case and a record, and the record keeps to the gates', t => {
  const record = readRecord()
  const recorded = new Set(
    Object.values(record).flatMap(names => Object.values(names).flatMap(kernels => Object.keys(kernels))),
  )
  const compiled = new Set(
    Object.values(budgets.kernels).flatMap(archs => Object.keys(archs[80]).map(baseName)),
  )
  t.true(compiled.size >= 50, `only ${compiled.size} kernels`)
  t.deepEqual([...recorded, ...Object.keys(uncounted)].sort(), [...compiled].sort())
  t.deepEqual(brokenGates(trafficCases, record), [])
})

// Of the warps that a multiprocessor can have: kernels that wait for memory, and hold less than half of them.
const fewWarps: Readonly<Record<string, number>> = {
  add_indexed_rows_kernel: 0.375, // eight rows in flight for each warp
  attention_decode_kernel: 0.125, // queries and sums of a group of heads in registers
  attention_decode_bf16_kernel: 0.083,
  logits_policy_loss_kernel: 0.437, // rows of up to 1,024 logits: a warp each
  rms_norm_backward_kernel: 0.125, // up to 32 columns of a row for each thread
  rms_norm_forward_kernel: 0.333,
  sample_tokens_kernel: 0.104, // histograms of 16 KiB; rows of up to 1,024 logits: a warp each
}

test('a multiprocessor holds half of the warps that it can of every kernel that is bound by memory', t => {
  let seen = 0
  const record = readRecord()
  for (const { stem, op, arch: only } of trafficCases) {
    // Shared memory that is measured out for one device says nothing of another.
    const devices = architectures.filter(arch => only === undefined || arch.startsWith(only))
    for (const [kernel, { instances, threads, sharedBytes }] of Object.entries(
      record[stem]?.[op.name] ?? {},
    )) {
      if (!boundBy[kernel]?.startsWith('memory')) continue
      for (const [instance, arch] of instances.flatMap(name => devices.map(arch => [name, arch] as const))) {
        const share = occupancy(arch, findBudget(instance, arch).budget, threads, sharedBytes)
        t.true(share >= (fewWarps[kernel] ?? 0.5), `${instance} on sm_${arch}: ${(100 * share).toFixed(1)} %`)
        seen++
      }
    }
  }
  t.true(isPtx || seen >= 200, `only ${seen} instances`)
})

test('docs/kernels.md holds the table of the records', t => {
  const expected = documentWith(kernelTable(readRecord()))
  t.true(readFileSync(documentPath, 'utf8') === expected, `docs/kernels.md is stale; ${renew}`)
})

test('a second read, half a sector, a bank conflict and a changed number are named', t => {
  const op = { name: 'rows' } as TrafficCase['op']
  const bound = { reads: 64, writes: 32, flops: 8, scalars: 4 }
  const cases: TrafficCase[] = [{ stem: 'op', op, kernels: { row_kernel: bound } }]
  const clean: KernelRecord = {
    instances: ['row_kernel<true>'],
    launches: 1,
    blocks: 1,
    threads: 32,
    sharedBytes: 0,
    minimalRead: 64,
    read: 68,
    mostRead: 68,
    minimalWritten: 32,
    written: 32,
    mostWritten: 32,
    ratio: 1.042,
    loadSectors: 3,
    idealLoadSectors: 3,
    storeSectors: 1,
    idealStoreSectors: 1,
    matrixPhases: 4,
    bankConflicts: 0,
    matrixProducts: 0,
    flops: 8,
    intensity: 0.0833,
  }
  const gates = (wrong: Partial<KernelRecord>) =>
    brokenGates(cases, { op: { rows: { row_kernel: { ...clean, ...wrong } } } })
  t.deepEqual(gates({}), [])
  t.deepEqual(gates({ read: 132 }), ['op, rows: row_kernel reads 132 bytes, may 68 (needs 64)'])
  t.deepEqual(gates({ written: 33 }), ['op, rows: row_kernel writes 33 bytes, may 32 (needs 32)'])
  t.deepEqual(gates({ written: 31 }), [
    'op, rows: row_kernel writes 31 bytes, and the formula says 32 at least',
  ])
  t.deepEqual(gates({ storeSectors: 2 }), [
    'op, rows: row_kernel stores use 50.0 % of their sectors, expected 100 %',
  ])
  t.deepEqual(gates({ bankConflicts: 7 }), ['op, rows: row_kernel: ldmatrix meets 7 bank conflicts'])
  t.deepEqual(brokenGates(cases, {}), ['op, rows: row_kernel: was not launched'])

  const known: TrafficRecord = { op: { rows: { row_kernel: clean } } }
  t.deepEqual(changes(known, known), [])
  t.deepEqual(changes({ op: { rows: { row_kernel: { ...clean, launches: 2 } } } }, known), [
    'op, rows: row_kernel: launches 2, the record says 1',
  ])
  t.deepEqual(changes({ op: { rows: {} } }, known), ['op, rows: row_kernel: in the record, and not launched'])
  t.deepEqual(changes(known, {}), ['op, rows: row_kernel: not in the record'])
})

const title = 'kernels move what the record says, and no more than they may'
if (missingReason) {
  test.skip(`${title}: ${missingReason}`, () => {})
} else {
  test(title, async t => {
    if (!isPtx) buildEmulated()
    const measured = await measureTraffic()
    t.deepEqual(brokenGates(trafficCases, measured), [])
    if (!isPtx) t.deepEqual(changes(measured, readRecord()), [], renew)
  })
}
