// How many cores other processes used meanwhile, from /proc: timings of a shared machine are only worth something in
// its quiet moments, and a record should say how quiet they were.
import { readFileSync } from 'node:fs'

// Linux gives times in ticks of 10 ms on every machine that Node runs on.
const secondsPerTick = 0.01

interface Reading {
  at: number
  /** Seconds of processor time: all processes, and this one with its peer. */
  all: number
  own: number
}

export class Contention {
  readonly #peerPid: number | undefined
  #last: Reading | undefined

  constructor(peerPid: number | undefined) {
    this.#peerPid = peerPid
    this.#last = this.#read()
  }

  /** Cores that others used since the last call; undefined where /proc does not say. */
  sinceLast(): number | undefined {
    const before = this.#last
    const now = this.#read()
    this.#last = now
    if (before === undefined || now === undefined || now.at <= before.at) return undefined
    const others = now.all - before.all - (now.own - before.own)
    return Math.max(0, others / (now.at - before.at))
  }

  #read(): Reading | undefined {
    try {
      // cpu user nice system idle iowait irq softirq steal
      const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
        .split(/\s+/)
        .slice(1)
        .map(Number)
      const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields
      const all = (user + nice + system + irq + softirq + steal) * secondsPerTick
      return {
        at: performance.now() / 1000,
        all,
        own: ticksOf('self') + (this.#peerPid ? ticksOf(String(this.#peerPid)) : 0),
      }
    } catch {
      return undefined
    }
  }
}

// Fields 14 and 15 of stat: user and system time. The name, field 2, may hold spaces.
function ticksOf(pid: string): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * secondsPerTick
}
