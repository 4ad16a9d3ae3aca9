// sample-tokens: plain, and with filters, over vocabularies small and large.
import { samplingCase } from '../../test/_cases/sample-tokens.js'
import { opCase } from '../time-op.js'

export const sampleTokensBench = opCase('sample-tokens', [
  samplingCase({ rows: 256, v: 64 }),
  samplingCase({ rows: 16, v: 8192 }),
  samplingCase({ rows: 16, v: 151_936 }),
  samplingCase({ rows: 16, v: 151_936, options: { topK: 50, topP: 0.95 } }),
])
