// What the answer pool and its workers share: batches of items go to the worker as messages, verdicts come back one byte
// each, written the moment they are found. So the first item without a byte is the one that is under way, and no
// finished verdict is lost with a worker.
import { writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { outliveSignals } from '../io/limited-worker.js'
import { type AnswerVerdict, answerReasons } from './verify/verify-answer.js'

export interface AnswerItem {
  gold: string
  prediction: string
  strict: boolean
}

/** The pipe's file descriptor in a worker. */
const verdictPipe = 4
/** Written once, before the first item. */
export const readyByte = 255
/** Written when a batch has come and its first item is begun. */
export const begunByte = 254

/** The byte of a verdict. */
export function encodeVerdict({ correct, reason }: AnswerVerdict): number {
  return answerReasons.indexOf(reason) * 2 + Number(correct)
}

/** The verdict of a byte, or undefined for one that stands for none. */
export function decodeVerdict(byte: number): AnswerVerdict | undefined {
  const reason = answerReasons[byte >> 1]
  return reason === undefined ? undefined : { correct: (byte & 1) === 1, reason }
}

/** Answers batches in a worker of the pool, one after the other. */
export function serveAnswers(check: (item: AnswerItem) => AnswerVerdict): void {
  const say = (byte: number) => writeSync(verdictPipe, Uint8Array.of(byte))
  process.on('message', (items: readonly AnswerItem[]) => {
    say(begunByte)
    for (const item of items) say(encodeVerdict(check(item)))
  })
  outliveSignals()
  endWithParent()
  say(readyByte)
}

// A text that hangs this thread must not outlive the program that asked, which may be killed before its watchdog looks.
function endWithParent(): void {
  const look = `setInterval(() => process.ppid === ${process.ppid} || process.kill(process.pid, 'SIGKILL'), 1000)`
  new Worker(look, { eval: true }).unref()
}
