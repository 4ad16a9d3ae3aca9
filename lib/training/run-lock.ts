// One writer per run folder. The lock is a file that names its holder: process id, start time of that process, boot of
// the machine. A process id alone would be taken for alive when another process has got the same number.
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { CheckpointError } from '../errors.js'
import { writeError } from '../io/atomic.js'
import { fault } from '../io/fault.js'

export interface LockHolder {
  pid: number
  /** When that process started, in the system's own words. */
  started: string
  /** Identity of the machine's boot. */
  boot: string
  host: string
  /** When the lock was taken, for people. */
  since: string
  /** Tells this taking of the lock from every other. */
  id: string
}

export class RunLock {
  readonly #path: string
  readonly #id: string
  /** What was found of a holder that is gone, as a line to print; undefined when the lock was free. */
  readonly notice: string | undefined

  private constructor(path: string, id: string, notice: string | undefined) {
    this.#path = path
    this.#id = id
    this.notice = notice
  }

  /**
   * Takes the lock of a run folder, which must exist. Throws CheckpointError `run locked by pid 4711 since ...` when
   * its holder is alive; takes over the lock of a process that is gone.
   */
  static async acquire(runFolder: string): Promise<RunLock> {
    const path = join(runFolder, 'lock')
    const own = ownHolder()
    try {
      if (create(path, own)) return new RunLock(path, own.id, undefined)
      return takeOver(path, own)
    } catch (error) {
      throw await writeError(error, path, 0)
    }

    function takeOver(lockPath: string, holder: LockHolder): RunLock {
      // Only one process at a time may judge a lock and replace it: otherwise two could both find it stale, and the
      // slower one would replace the faster one's fresh lock.
      const guard = `${lockPath}.takeover`
      if (!create(guard, holder)) {
        const other = read(guard)
        refuseIfAlive(other, runFolder)
        if (other !== undefined) rmSync(guard, { force: true })
        if (!create(guard, holder)) throw lockedError(read(guard), runFolder)
      }
      try {
        const stale = read(lockPath)
        refuseIfAlive(stale, runFolder)
        replace(lockPath, holder)
        const notice =
          stale === undefined
            ? undefined
            : `took over the lock of pid ${stale.pid} (since ${stale.since}), which is gone`
        return new RunLock(lockPath, holder.id, notice)
      } finally {
        rmSync(guard, { force: true })
      }
    }
  }

  /** Throws CheckpointError where a living process holds the lock of a run folder. Changes nothing. */
  static refuseIfHeld(runFolder: string): void {
    refuseIfAlive(read(join(runFolder, 'lock')), runFolder)
  }

  /** Throws CheckpointError unless this lock still stands: called before anything in the run folder is replaced. */
  assertHeld(): void {
    const holder = read(this.#path)
    if (holder?.id === this.#id) return
    const now = holder === undefined ? 'nobody holds it' : `pid ${holder.pid} holds it`
    throw new CheckpointError(`${this.#path}: the lock of this run was taken away; ${now}`, {
      path: this.#path,
    })
  }

  /** Gives the lock back; does nothing when it is no longer ours. */
  release(): void {
    if (read(this.#path)?.id === this.#id) rmSync(this.#path, { force: true })
  }
}

function ownHolder(): LockHolder {
  const started = processStart(process.pid) ?? 'unknown'
  return {
    pid: process.pid,
    started,
    boot: bootId(),
    host: hostname(),
    since: new Date().toISOString(),
    id: randomUUID(),
  }
}

/** Creates a lock file with its whole content at once, or returns false when there is one (link, like O_EXCL). */
function create(path: string, holder: LockHolder): boolean {
  const temporary = `${path}.tmp-${holder.id}`
  writeDurable(temporary, holder)
  fault('lock-written')
  try {
    linkSync(temporary, path)
    fault('lock-linked')
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  } finally {
    rmSync(temporary, { force: true })
  }
}

function replace(path: string, holder: LockHolder): void {
  const temporary = `${path}.tmp-${holder.id}`
  writeDurable(temporary, holder)
  renameSync(temporary, path)
}

function writeDurable(path: string, holder: LockHolder): void {
  const descriptor = openSync(path, 'wx')
  try {
    writeFileSync(descriptor, `${JSON.stringify(holder)}\n`)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** The holder that a lock file names, or undefined when there is no file. */
function read(path: string): LockHolder | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    const holder = JSON.parse(text) as LockHolder
    if (Number.isInteger(holder.pid) && typeof holder.id === 'string') return holder
  } catch {
    // Falls through to the error below: a damaged lock may still have a living holder.
  }
  throw new CheckpointError(`${path}: the lock cannot be read`, {
    path,
    hint: 'delete it if no other process trains in this folder',
  })
}

function refuseIfAlive(holder: LockHolder | undefined, runFolder: string): void {
  if (holder !== undefined && isAlive(holder)) throw lockedError(holder, runFolder)
}

function lockedError(holder: LockHolder | undefined, runFolder: string): CheckpointError {
  const who =
    holder === undefined ? 'another process' : `pid ${holder.pid} on ${holder.host} since ${holder.since}`
  return new CheckpointError(`${runFolder}: run locked by ${who}`, {
    path: runFolder,
    hint: 'stop that process, or choose another run name; delete the file "lock" only if it is gone',
    details: { holder },
  })
}

/** Whether the process that took a lock still runs. On another machine that cannot be known, and counts as alive. */
function isAlive(holder: LockHolder): boolean {
  if (holder.boot !== bootId()) return holder.host !== hostname()
  return processStart(holder.pid) === holder.started
}

/** When a process started; undefined when there is no such process, or when it is dead and only not yet collected. */
export function processStart(pid: number): string | undefined {
  if (process.platform === 'linux') {
    let stat: string
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    } catch {
      return undefined
    }
    // The second field, the name, may hold spaces and brackets; the state is the third field, the start the 22nd.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined
  } catch {
    return undefined
  }
}

let knownBootId: string | undefined

function bootId(): string {
  knownBootId ??=
    process.platform === 'linux'
      ? readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
      : execFileSync('sysctl', ['-n', 'kern.bootsessionuuid'], { encoding: 'utf8' }).trim()
  return knownBootId
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
