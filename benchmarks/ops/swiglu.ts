// swiglu: gate and up side by side.
import { backwardCase, forwardCase } from '../../test/_cases/swiglu.js'
import { opCase } from '../time-op.js'

const sizes = { rows: 4096, f: 1024 }

export const swigluBench = opCase('swiglu', [forwardCase(sizes), backwardCase(sizes)])
