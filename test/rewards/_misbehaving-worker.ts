// A worker of the answer pool that hangs, runs out of memory or out of stack on certain answers, and checks the others.
import { setTimeout as wait } from 'node:timers/promises'
import { serveAnswers } from '../../lib/rewards/answer-protocol.js'
import { verifyAnswer } from '../../lib/rewards/verify/verify-answer.js'

function nest(depth: number): number {
  return nest(depth + 1) + 1
}

serveAnswers(({ gold, prediction, strict }) => {
  if (prediction === 'hang') for (;;);
  if (prediction === 'power') return { correct: 3n ** 50_000_000_000n > 1n, reason: 'equal' }
  if (prediction === 'memory') {
    const kept: number[][] = []
    for (;;) kept.push(new Array<number>(1_000_000).fill(kept.length + 0.5))
  }
  // One allocation far beyond the heap's limit.
  if (prediction === 'huge')
    return { correct: new Array<number>(2 ** 28).fill(0.5).length > 0, reason: 'equal' }
  if (prediction === 'stack') nest(0)
  if (prediction === 'exit') process.exit(3)
  if (prediction === 'late') void wait(1).then(() => Promise.reject(new Error('late')))
  return verifyAnswer(gold, prediction, { strict })
})
