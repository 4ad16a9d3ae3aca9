// What a training run shows on a terminal of 80 columns.
import test from 'ava'
import { Progress } from '../../lib/report/progress.js'
import { trainingProgress } from '../../lib/report/training-progress.js'
import type { StepMetrics } from '../../lib/training/metrics.js'

test('speed and time left are seen on 80 columns; what was not measured is not shown', t => {
  const written: string[] = []
  let clock = 0
  const stream = { isTTY: true, columns: 80, write: (text: string) => written.push(text) }
  const progress = new Progress({ stream, env: { NO_COLOR: '1' }, now: () => clock, terminalInterval: 0 })
  const report = trainingProgress(progress, 'luffy')
  report({ type: 'start', runFolder: 'r', step: 0, maxSteps: 100, notices: [] })
  clock = 50_000
  const metrics = {
    reward: 0.5,
    entropy: 0.1,
    offPolicyProbability: 0.4,
    tokensPerSecond: 12_000,
  } as StepMetrics
  report({ type: 'step', step: 50, metrics, samples: [] })
  t.regex(written.at(-1) ?? '', /step {2}50\/100 50 s left reward 0\.50 tok\/s 12(\.\d+)?k/i)
  report({ type: 'step', step: 100, metrics: { reward: 1, tokensPerSecond: 0 } as StepMetrics, samples: [] })
  report({ type: 'end', step: 100, runFolder: 'r', checkpoint: 'c' })
  t.regex(written.at(-1) ?? '', /step 100\/100 in 50 s reward 1\.00 all\/some\/none right/)
  t.notRegex(written.at(-1) ?? '', /tok\/s|entropy|demo p/)
})
