// Trains the tiny run whose output folder and model folder are its arguments. See resume.test.ts.
import { train } from '../../lib/index.js'
import { tinyRun } from './_tiny-run.js'

const [outputDir, model, pauseAt] = process.argv.slice(2) as [string, string, string]
await train(tinyRun(outputDir, model), {
  onEvent: event => {
    if (event.type !== 'step') return
    process.stdout.write(`step ${event.step}\n`)
    // Holds the run here, so that it is killed at a known step.
    if (event.step === Number(pauseAt)) for (;;);
  },
})
process.stdout.write('done\n')
