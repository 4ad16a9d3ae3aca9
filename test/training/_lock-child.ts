// Says `ready`, waits for a line of input, takes the lock of the run folder named by its argument, says `held` or
// `refused`, and keeps the lock until its input ends or it is killed.
import { once } from 'node:events'
import { RunLock } from '../../lib/training/run-lock.js'

process.stdout.write('ready\n')
await once(process.stdin, 'data')
try {
  const lock = await RunLock.acquire(process.argv[2] as string)
  process.stdout.write(`held ${lock.notice ?? ''}\n`)
  for await (const _ of process.stdin);
  lock.assertHeld()
  lock.release()
} catch (error) {
  process.stdout.write(`refused ${error instanceof Error ? error.message : String(error)}\n`)
}
