// Prints what the kernels of the cases move, as JSON: `EMULATOR_TRACE=FILE node _run-traffic.js [STEM...]`.
import { countTraffic } from './_traffic.js'
import { trafficCases } from './_traffic-cases.js'

const stems = process.argv.slice(2)
const file = process.env.EMULATOR_TRACE
if (file === undefined || file === '1') throw new Error('expected EMULATOR_TRACE to name a file')
const cases = trafficCases.filter(({ stem }) => stems.length === 0 || stems.includes(stem))
process.stdout.write(JSON.stringify(await countTraffic(cases, file)))
