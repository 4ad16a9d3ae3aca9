// Run by answer-pool.test.ts: disposes a pool whose workers have become ready while this thread was busy.
import process from 'node:process'
import { setImmediate as turn } from 'node:timers/promises'
import { AnswerPool } from '../../lib/rewards/answer-pool.js'

const pool = new AnswerPool()
const verdict = pool.verify('5', '5').catch(error => (error as Error).name)
await turn()
const end = performance.now() + Number(process.argv[2])
while (performance.now() < end);
await pool.dispose()
console.log(await verdict)
