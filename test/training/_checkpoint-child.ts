// Saves checkpoints into the folder named by its argument, as a training run would: a new one, one more with pruning,
// one that replaces another, one that is marked as the best. Says `saved N` after each. See checkpoint.test.ts.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointStore, jsonWriter } from '../../lib/training/checkpoint.js'

const store = new CheckpointStore(process.argv[2] as string, { keep: 1 })
const { checkpoint } = await store.resumePoint()
process.stdout.write(`resumed ${checkpoint?.step ?? 0}\n`)
for (const [number, step] of [2, 3, 3, 4].entries()) {
  await store.save(
    step,
    [
      jsonWriter('trainer_state.json', { step, number }),
      async folder => {
        await mkdir(join(folder, 'weights'))
        await writeFile(join(folder, 'weights', 'part.bin'), Buffer.alloc(70_000, step))
      },
    ],
    { protect: [1] },
  )
  process.stdout.write(`saved ${step}\n`)
  if (step === 2) await store.markBest({ step: 2, metric: 'accuracy', value: 0.5 })
}
