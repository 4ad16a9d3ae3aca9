// gather-rows: half of a micro-batch's rows, as after prompts.
import { backwardCase, forwardCase } from '../../test/_cases/gather-rows.js'
import { opCase } from '../time-op.js'

const sizes = { rows: 8192, picked: 4096, c: 384 }

export const gatherRowsBench = opCase('gather-rows', [forwardCase(sizes), backwardCase(sizes)])
