// Run by answer-pool.test.ts: a pool whose worker hangs. Prints the process ids of its workers and waits to be killed.
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { AnswerPool } from '../../lib/rewards/answer-pool.js'

const pool = new AnswerPool({ timeout: 600 }, pathToFileURL(process.argv[2] as string))
await pool.verify('5', '5')
void pool.verify('5', 'hang')
setTimeout(() => {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim()
  console.log(`workers ${children}`)
}, 300)
