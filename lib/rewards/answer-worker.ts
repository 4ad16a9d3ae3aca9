// A worker thread of the answer pool: it loads the checking of answers and nothing else, above all not the addon.
import { serveAnswers } from './answer-protocol.js'
import { verifyAnswer } from './verify/verify-answer.js'

serveAnswers(({ gold, prediction, strict }) => verifyAnswer(gold, prediction, { strict }))
