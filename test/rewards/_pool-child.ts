// Run by answer-pool.test.ts: checks one answer, disposes nothing, and must end by itself, without the addon.
import process from 'node:process'
import { AnswerPool } from '../../lib/rewards/answer-pool.js'

const pool = new AnswerPool()
const { correct } = await pool.verify('5', '\\boxed{5}')
const addons = (process.report.getReport() as unknown as { sharedObjects: string[] }).sharedObjects
console.log(JSON.stringify({ correct, addons: addons.filter(name => name.endsWith('.node')) }))
