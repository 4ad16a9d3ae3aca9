// What rewards say beside their numbers: counted by reason in the metrics and in the result of a run, told of when
// checking times out often, and never a metric of its own for a text that names something.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { opChainsTask, type TrainEvent, train } from '../../lib/index.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { saveTinyModel, tinyRun } from './_tiny-run.js'

test('reasons are counted by step and for the run', async t => {
  const folder = await temporaryFolder(t)
  const model = join(folder, 'model')
  await saveTinyModel(model)
  let call = 0
  const reasons = ['timed out', 'equal', 'worker failed', 'row 17 of x.jsonl', '__proto__', 'different']
  const task = {
    ...opChainsTask({ size: 24, testSize: 4 }),
    evaluations: [],
    reward: () => ({ reward: 0, reason: reasons[call++ % reasons.length] as string }),
  }
  const events: TrainEvent[] = []
  const { rewardReasons } = await train(
    tinyRun(folder, model, { maxSteps: 2, evalSteps: 0, maxCompletionLength: 80 }),
    {
      task,
      onEvent: event => void events.push(event),
    },
  )
  // 4 prompts, 3 members each, 2 steps.
  t.is(call, 24)
  t.deepEqual({ ...rewardReasons }, { 'timed out': 4, equal: 4, 'worker failed': 4, other: 8, different: 4 })
  const lines = readFileSync(join(folder, 'tiny/metrics.jsonl'), 'utf8').trim().split('\n')
  const step = JSON.parse(lines[0] as string)
  t.like(step, {
    'rewards/reason/timed_out': 2,
    'rewards/reason/worker_failed': 2,
    'rewards/reason/other': 4,
  })
  const notices = events.flatMap(event => (event.type === 'notice' ? event.text : []))
  t.deepEqual(notices, Array(2).fill('checking timed out on 2 of 12 responses, which count as wrong'))
})
