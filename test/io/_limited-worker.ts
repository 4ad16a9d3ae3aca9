// A worker that does what it is asked to, for limited-worker.test.ts.
import { serveRequests } from '../../lib/io/limited-worker.js'

export interface Request {
  what: 'echo' | 'throw' | 'spin' | 'fill' | 'exit' | 'pid'
  value?: unknown
}

serveRequests(({ what, value }: Request) => {
  switch (what) {
    case 'echo':
      return value
    case 'throw':
      throw new Error('as asked')
    case 'spin':
      for (;;);
    case 'fill': {
      // One large allocation: it ends a whole process where the worker is a thread of it.
      const list: number[] = []
      for (let i = 0; ; i++) list[i] = i
    }
    case 'exit':
      return process.exit(3)
    case 'pid':
      return process.pid
  }
})
