// The figures of the page, in its order.
import type { ReportModel } from '../model.js'
import { accuracyFigure } from './accuracy.js'
import { accuracyOverStepsFigure } from './accuracy-over-steps.js'
import { entropyFigure } from './entropy.js'
import type { Figure } from './figure.js'
import { gradientFigure } from './gradient.js'
import { groupsFigure } from './groups.js'
import { lengthFigure } from './length.js'
import { phasesFigure } from './phases.js'
import { probabilityFigure } from './probability.js'
import { rewardFigure } from './reward.js'
import { speedFigure } from './speed.js'
import { weightsFigure } from './weights.js'

export function figuresOf(model: ReportModel): Figure[] {
  return [
    accuracyFigure(model),
    rewardFigure(model),
    entropyFigure(model),
    probabilityFigure(model),
    weightsFigure(model),
    groupsFigure(model),
    accuracyOverStepsFigure(model),
    lengthFigure(model),
    speedFigure(model),
    phasesFigure(model),
    gradientFigure(model),
  ]
}
