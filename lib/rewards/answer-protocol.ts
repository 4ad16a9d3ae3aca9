// What the answer pool and its workers share: a batch of items, and one shared word per item that says how far it is.
// The parent reads the words at any time, so that a hung item is known and no finished verdict is lost with it.
import { parentPort } from 'node:worker_threads'
import { type AnswerVerdict, answerReasons } from './verify/verify-answer.js'

export interface AnswerItem {
  gold: string
  prediction: string
  strict: boolean
}

export interface AnswerBatch {
  items: readonly AnswerItem[]
  /** One word per item: 0 not begun, 1 begun, else a verdict. */
  progress: SharedArrayBuffer
}

export const begun = 1
const firstVerdict = 2

/** The word of a verdict. */
export function encodeVerdict({ correct, reason }: AnswerVerdict): number {
  return firstVerdict + answerReasons.indexOf(reason) * 2 + Number(correct)
}

/** The verdict of a word, or undefined while there is none. */
export function decodeVerdict(word: number): AnswerVerdict | undefined {
  const reason = word < firstVerdict ? undefined : answerReasons[(word - firstVerdict) >> 1]
  return reason === undefined ? undefined : { correct: ((word - firstVerdict) & 1) === 1, reason }
}

/** Answers batches in a worker thread, one after the other. */
export function serveAnswers(check: (item: AnswerItem) => AnswerVerdict): void {
  const port = parentPort
  if (!port) throw new Error('serveAnswers: expected a worker thread')
  port.on('message', ({ items, progress }: AnswerBatch) => {
    const words = new Int32Array(progress)
    items.forEach((item, i) => {
      Atomics.store(words, i, begun)
      Atomics.store(words, i, encodeVerdict(check(item)))
    })
    port.postMessage('done')
  })
  port.postMessage('ready')
}
