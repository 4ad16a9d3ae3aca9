// A worker of the answer pool, a process of its own: it loads the checking of answers and nothing else, above all not the addon.
import { serveAnswers } from './answer-protocol.js'
import { verifyAnswer } from './verify/verify-answer.js'

serveAnswers(({ gold, prediction, strict }) => verifyAnswer(gold, prediction, { strict }))
