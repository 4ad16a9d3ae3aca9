// adamw: reads four arrays and writes three.
import { adamwCase } from '../../test/_cases/adamw.js'
import { opCase } from '../time-op.js'

export const adamwBench = opCase('adamw', [adamwCase(860_000), adamwCase(4_000_000)])
