// embedding: a micro-batch of the larger benchmark policy.
import { backwardCase, forwardCase } from '../../test/_cases/embedding.js'
import { opCase } from '../time-op.js'

const sizes = { tokens: 4096, vocabulary: 8192, c: 384 }

export const embeddingBench = opCase('embedding', [forwardCase(sizes), backwardCase(sizes)])
