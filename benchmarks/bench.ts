// What every case is given (Bench), what it returns (Row), and how it is timed: our samples and samples of the roof
// in turn, so that a noisy minute on the machine meets both.
import type { Device } from '../lib/tensor/device.js'
import type { Contention } from './contention.js'
import type { Peer } from './peer.js'
import type { Roofs } from './roofs.js'
import { median, quantile } from './statistics.js'

export interface Bench {
  device: Device
  threads: number
  roofs: Roofs
  peer: Peer | undefined
  contention: Contention
  /** Time that a case may take, and the fewest rounds of sample and roof. */
  seconds: number
  rounds: number
  /** Time that a case may wait for rounds in which no other process is at work. */
  patience: number
  quick: boolean
  /** Print the time per op of the larger cases. */
  profile: boolean
  /** A line for the person who waits. */
  note(text: string): void
}

export interface Row {
  group: string
  name: string
  /** Of one call; absent for rows that are not times (memory). */
  seconds?: {
    median: number
    q20: number
    q80: number
    samples: number
    /** Rounds that did not count, and cores that other processes used in those that did. */
    setAside: number
    others: number
  }
  rate?: { value: number; unit: string }
  roof?: { value: number; unit: string; name: string }
  /**
   * What is judged: the rate as a share of the roof, a speedup or an amount. `best` compares the fastest fifth of our
   * samples with the fastest fifth of the roof's: what a quiet machine would show.
   */
  result?: { value: number; best?: number; unit: 'share' | 'times' | 'MiB' | 'ms' }
  target?: { floor: number; aim: number; smallerIsBetter?: boolean }
  /** Numbers beside the ones above, for the record. */
  details?: Record<string, number | string>
}

export interface BenchCase {
  name: string
  run(bench: Bench): Promise<Row[]>
}

export interface Paired {
  /** Seconds of each of our samples, and the roof's rate beside each. */
  seconds: number[]
  roofs: number[]
  /** Rounds that were set aside because others were at work, and cores that others used in those that count. */
  setAside: number
  others: number
}

/** Cores that other processes may use in a round that counts as quiet. */
const quietCores = 0.15

/**
 * One untimed round, then rounds of both until the time is up. Rounds in which other processes were at work are set
 * aside when at least three quiet ones remain.
 */
export async function inTurns(
  bench: Pick<Bench, 'seconds' | 'rounds' | 'patience' | 'contention'>,
  sample: () => Promise<number>,
  roof: () => Promise<number>,
): Promise<Paired> {
  await sample()
  await roof()
  const rounds: { seconds: number; roof: number; others: number }[] = []
  const isQuiet = ({ others }: { others: number }) => others <= quietCores
  bench.contention.sinceLast()
  const start = performance.now()
  for (;;) {
    const elapsed = (performance.now() - start) / 1000
    const enough = rounds.length >= bench.rounds && elapsed >= bench.seconds
    if (enough && (elapsed >= bench.patience || rounds.filter(isQuiet).length >= bench.rounds)) break
    rounds.push({
      seconds: await sample(),
      roof: await roof(),
      others: bench.contention.sinceLast() ?? 0,
    })
  }
  const quiet = rounds.filter(isQuiet)
  const counted = quiet.length >= 3 ? quiet : rounds
  return {
    seconds: counted.map(round => round.seconds),
    roofs: counted.map(round => round.roof),
    setAside: rounds.length - counted.length,
    others: median(counted.map(round => round.others)),
  }
}

/** Seconds of one of `count` calls, enqueued together. */
export async function timeOps(device: Device, count: number, enqueue: () => void): Promise<number> {
  await device.synchronize()
  const start = performance.now()
  device.scope(() => {
    for (let i = 0; i < count; i++) enqueue()
  })
  await device.synchronize()
  return (performance.now() - start) / 1000 / count
}

/** How many calls take about `seconds`. */
export async function callsFor(device: Device, seconds: number, enqueue: () => void): Promise<number> {
  let count = 1
  for (;;) {
    const each = await timeOps(device, count, enqueue)
    if (each * count > seconds / 4 || count >= 1024) {
      return Math.max(1, Math.min(1024, Math.round(seconds / each)))
    }
    count *= 4
  }
}

export function timesOf({ seconds, others, setAside }: Paired): NonNullable<Row['seconds']> {
  return {
    median: median(seconds),
    q20: quantile(seconds, 0.2),
    q80: quantile(seconds, 0.8),
    samples: seconds.length,
    setAside,
    others,
  }
}

/** The share of the roof: the median over rounds, and from the fastest fifth of both sides. `work` over seconds is the rate. */
export function shareOf(paired: Paired, work: number): { value: number; best: number; unit: 'share' } {
  const shares = paired.seconds.map((seconds, i) => work / seconds / (paired.roofs[i] as number))
  const best = work / quantile(paired.seconds, 0.2) / quantile(paired.roofs, 0.8)
  return { value: median(shares), best, unit: 'share' }
}

/** A row of a case that does `work` (FLOPs or bytes) under a roof of the same unit per second. */
export function rowOf(
  group: string,
  name: string,
  paired: Paired,
  work: number,
  unit: 'GFLOP/s' | 'GB/s',
  roofName: string,
  target?: Row['target'],
): Row {
  const seconds = timesOf(paired)
  const roof = median(paired.roofs)
  return {
    group,
    name,
    seconds,
    rate: { value: work / seconds.median / 1e9, unit },
    ...(Number.isFinite(roof)
      ? { roof: { value: roof / 1e9, unit, name: roofName }, result: shareOf(paired, work) }
      : {}),
    ...(target ? { target } : {}),
  }
}

export type Verdict = 'aim' | 'floor' | 'below'

export function verdictOf({ result, target }: Row): Verdict | undefined {
  if (result === undefined || target === undefined) return undefined
  const reaches = (bound: number) => (target.smallerIsBetter ? result.value <= bound : result.value >= bound)
  return reaches(target.aim) ? 'aim' : reaches(target.floor) ? 'floor' : 'below'
}
