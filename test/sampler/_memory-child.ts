// Loads the policy of a folder and saves it again, and prints the most memory that each took (kB, of the whole process)
// and what stood there before. See memory.test.ts.
import { readFileSync, writeFileSync } from 'node:fs'
import { Device, Policy } from '../../lib/index.js'

const [from = '', to = ''] = process.argv.slice(2)
const kilobytes = (name: string) =>
  Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1])

await using device = await Device.open('cpu')
// What every program loads once is not the policy's.
await (await Policy.create({ vocabSize: 64 }, { device })).dispose()
const before = kilobytes('VmRSS')
// 5 sets the peak back to what is there now.
writeFileSync('/proc/self/clear_refs', '5')
await using policy = await Policy.load(from, { device })
const load = kilobytes('VmHWM') - before
await policy.save(to, { dtype: 'bfloat16' })
const save = kilobytes('VmHWM') - before
console.log(JSON.stringify({ load, save, parameters: policy.model.layout.size }))
