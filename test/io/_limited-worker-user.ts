// A process that uses a worker and comes to its end without closing it.
import { LimitedWorker } from '../../lib/io/limited-worker.js'

const worker = new LimitedWorker(new URL('./_limited-worker.js', import.meta.url), { heapMb: 64 })
process.stdout.write(String(await worker.call({ what: 'pid' }, 30_000)))
