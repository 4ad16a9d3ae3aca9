// group-advantages: far more groups than a step has.
import { advantageCase } from '../../test/_cases/group-advantages.js'
import { opCase } from '../time-op.js'

export const groupAdvantagesBench = opCase('group-advantages', [
  advantageCase({ baseline: 'mean', n: 1024, groups: 128 }),
])
