// Counts what kernels read and write while the cases of test/emulator/_traffic-cases.ts run on the emulated device, and
// compares it with native/ops/kernel-traffic.json and with what no kernel may do. `--write` renews the record and the table
// of docs/kernels.md; `--only STEM[,STEM]` runs some cases. Needs the compiled TypeScript (npx tsc).
import { execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildPlugin, missing, root } from './emulator.mjs'
import { recordOptions } from './record-options.mjs'

async function main(args) {
  const reason = missing()
  if (reason) {
    console.log(`kernel traffic: skipped, ${reason}`)
    return 0
  }
  const compiled = join(root, 'dist/test/emulator')
  if (!existsSync(join(compiled, '_traffic.js')))
    throw new Error('kernel traffic: expected compiled tests in dist/: npx tsc')
  const load = name => import(pathToFileURL(join(compiled, name)))
  const { brokenGates, changes, measureTraffic, readRecord, recordPath } = await load('_traffic.js')
  const { trafficCases } = await load('_traffic-cases.js')
  const { documentPath, documentWith, kernelTable } = await load('_traffic-table.js')

  const options = recordOptions('kernel-traffic', args, [...new Set(trafficCases.map(({ stem }) => stem))])
  if (options.text !== undefined) {
    console.log(options.text)
    return options.code
  }
  const stems = options.only ?? []
  const cases = trafficCases.filter(({ stem }) => stems.length === 0 || stems.includes(stem))
  await buildPlugin()
  const measured = await measureTraffic(stems)
  const known = existsSync(recordPath) ? readRecord() : {}
  const kept = Object.fromEntries(
    Object.entries(known).filter(([stem]) => stems.length === 0 || stems.includes(stem)),
  )
  const wrong = brokenGates(cases, measured)
  for (const text of wrong) console.error(text)
  const different = changes(measured, kept)
  if (!options.write) {
    for (const text of different) console.error(text)
    console.log(
      `kernel traffic: ${cases.length} cases, ${wrong.length} gates broken, ${different.length} numbers not as in the record${different.length > 0 ? ' (--write renews it)' : ''}`,
    )
    return wrong.length + different.length === 0 ? 0 : 1
  }
  const all = stems.length === 0 ? measured : { ...known, ...measured }
  writeFileSync(recordPath, `${JSON.stringify(all, null, 2)}\n`)
  execFileSync('npx', ['biome', 'format', '--write', recordPath], { cwd: root, stdio: 'ignore' })
  writeFileSync(documentPath, documentWith(kernelTable(all)))
  console.log(
    `kernel traffic: ${cases.length} cases, ${different.length} numbers renewed, ${wrong.length} gates broken`,
  )
  return wrong.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
