// npm run bench [-- --only NAME --quick --device cuda --threads 2 --json FILE --check --profile --peers]
//
// Times every case beside the roofs of this machine, prints a table and, with --json, writes a record.
import { parseArgs } from 'node:util'
import { ConfigError, LuffyError } from '../lib/errors.js'
import { Device } from '../lib/tensor/device.js'
import { type Bench, type BenchCase, type Row, verdictOf } from './bench.js'
import { cases } from './cases.js'
import { Contention } from './contention.js'
import { lowestProduct } from './ops/matmul.js'
import { Peer } from './peer.js'
import { PyTorch } from './pytorch.js'
import {
  type BenchRecord,
  commitOf,
  currentLoad,
  machineOf,
  tableOf,
  withVerdicts,
  writeRecord,
} from './record.js'
import { Roofs } from './roofs.js'
import { median } from './statistics.js'

const help = `npm run bench [-- options]
  --only NAME   the cases whose name holds NAME (several: separated by commas)
  --list        print the names
  --patience S  wait up to S seconds a case for rounds in which no other process is at work
  --quick       a fifth of the time
  --device NAME  cpu (default), cuda or cuda:N: its own bandwidth and matrix rate are the roofs, oneDNN is left out
  --threads N   threads of the device and of its peers (default 2)
  --json FILE   write a record of the run; without FILE it goes to the standard output
  --check       exit with 1 when a case is below its floor
  --peers       run the same cases in PyTorch, where python3-torch is installed
  --profile     print the time per op of the larger cases`

// `--json` may stand alone.
const args = process.argv.slice(2).map((arg, i, all) => {
  const next = all[i + 1]
  return arg === '--json' && (next === undefined || next.startsWith('--')) ? '--json=-' : arg
})
const { values: options } = parseArgs({
  args,
  options: {
    only: { type: 'string' },
    list: { type: 'boolean', default: false },
    patience: { type: 'string', default: '0' },
    quick: { type: 'boolean', default: false },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string', default: '2' },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

try {
  await main()
} catch (error) {
  if (!LuffyError.isInstance(error)) throw error
  console.error(error.message)
  process.exitCode = error.exitCode
}

async function main(): Promise<void> {
  const wanted = options.only?.split(',')
  const chosen = cases.filter(({ name }) => wanted === undefined || wanted.some(part => name.includes(part)))
  if (options.help || options.list) {
    console.log(options.help ? help : cases.map(({ name }) => name).join('\n'))
    return
  }
  if (chosen.length === 0)
    throw new ConfigError(`no case holds "${options.only}"`, { hint: '--list prints their names' })

  const threads = Number(options.threads)
  const load = { before: currentLoad(), after: 0 }
  const onCpu = options.device === 'cpu'
  await using device = await Device.open(options.device, onCpu ? { threads } : {})
  const started = onCpu ? await Peer.start(threads) : 'without oneDNN, which is a peer of the CPU'
  const peer = typeof started === 'string' ? undefined : started
  if (typeof started === 'string') note(started)
  try {
    const roofs = new Roofs(device, peer)
    const { isa, description } = device.info()
    const machine = machineOf(isa || description, threads)
    note(`${machine.cpu}, ${machine.cores} cores, ${isa}, ${threads} threads, load ${load.before}`)
    if (onCpu) note(peer?.onednn ? `oneDNN ${peer.onednn}` : 'without oneDNN (libdnnl-dev is not installed)')
    else note(`${device.name}: ${description}`)
    const bench: Bench = {
      device,
      threads,
      roofs,
      peer,
      seconds: options.quick ? 0.25 : 1.25,
      rounds: options.quick ? 3 : 7,
      patience: Number(options.patience),
      contention: new Contention(peer?.pid),
      quick: options.quick,
      profile: options.profile,
      note,
    }
    await roofs.calibrate()
    const pytorch = options.peers ? PyTorch.find(threads) : undefined
    if (options.peers) note(pytorch ? `PyTorch ${pytorch.version}` : 'without PyTorch (no python3-torch)')
    const rows = await runAll(bench, chosen, pytorch)
    load.after = currentLoad()
    const table = tableOf(rows, process.stdout.isTTY ? 'unicode' : 'ascii')
    if (options.json === '-') note(table)
    else console.log(table)
    note('rate and roof: the same unit; quiet: the fastest fifth of both sides; busy: cores that others used')
    for (const { name, details } of rows) {
      const times = details?.timesFasterThanPyTorch
      if (typeof times === 'number') note(`${name}: ${times.toFixed(1)} times as fast as PyTorch`)
    }
    const medians = roofMedians(roofs)
    note(
      `roofs: ${Object.entries(medians)
        .map(([name, value]) => `${name} ${value.toFixed(1)}`)
        .join(', ')}; load ${load.before} before, ${load.after} after`,
    )
    if (options.json !== undefined) {
      const record: BenchRecord = {
        date: new Date().toISOString(),
        ...commitOf(),
        node: process.version,
        machine,
        load,
        onednn: peer?.onednn ?? null,
        pytorch: pytorch?.version ?? null,
        options: { quick: options.quick, only: options.only ?? null },
        roofs: medians,
        rows: withVerdicts(rows),
      }
      if (options.json === '-') console.log(JSON.stringify(record))
      else writeRecord(options.json, record)
    }
    const below = rows.filter(row => verdictOf(row) === 'below').length
    const judged = rows.filter(row => verdictOf(row) !== undefined).length
    note(`${rows.length} rows, ${judged} with a floor, ${below} below it`)
    if (options.check && below > 0) process.exitCode = 1
  } finally {
    peer?.stop()
  }
}

async function runAll(
  bench: Bench,
  chosen: readonly BenchCase[],
  pytorch: PyTorch | undefined,
): Promise<Row[]> {
  const rows: Row[] = []
  for (const { name, run } of chosen) {
    const start = performance.now()
    const made = await run(bench)
    bench.device.trim()
    await pytorch?.compare(name, made)
    rows.push(...made)
    const shown = made
      .map(row => (row.result ? `${row.name}: ${row.result.value.toFixed(2)} ${row.result.unit}` : row.name))
      .slice(0, 2)
    note(`  ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)  ${shown.join('; ')}`)
  }
  const products = rows.filter(({ group }) => group === 'product')
  return [...products, ...lowestProduct(products), ...rows.filter(row => !products.includes(row))]
}

function roofMedians(roofs: Roofs): Record<string, number> {
  const { ours, onednn, read, scale } = roofs.history
  const named = { 'matrix GFLOP/s': ours, 'oneDNN GFLOP/s': onednn, 'read GB/s': read, 'scale GB/s': scale }
  return Object.fromEntries(
    Object.entries(named)
      .filter(([, rates]) => rates.length > 0)
      .map(([name, rates]) => [name, median(rates) / 1e9]),
  )
}

function note(text: string): void {
  console.error(text)
}
