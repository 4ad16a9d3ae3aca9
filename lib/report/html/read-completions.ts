// Completions for the page: some steps of each run, some groups of each step, within a fixed size.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError } from '../../errors.js'
import { openRegularFile } from '../../io/regular-file.js'
import { visibleLines } from './markup.js'
import { countOf, readLines } from './read-lines.js'
import type { RunData } from './read-run.js'

/** As embedded in the page, all text with control and bidi characters as escapes. */
export interface ShownMember {
  demonstration: boolean
  reward: number | null
  advantage: number | null
  reason: string
  end: string
  /** Tokens in all. */
  tokens: number
  text: string
  /** Length of each token in `text`; empty where the run did not log them. */
  lengths: number[]
  /** -100 times the log-probability of each token, rounded; empty likewise. */
  surprise: number[]
  /** Characters of the text that are left out. */
  cut: number
}

export type Outcome = 'solved' | 'mixed' | 'unsolved' | 'demonstrations'

export interface ShownGroup {
  outcome: Outcome
  prompt: string
  members: ShownMember[]
}

export interface ShownStep {
  step: number
  groups: ShownGroup[]
  /** Groups of this step in the file, or in what was read of it. */
  of: number
}

export interface ShownRun {
  name: string
  steps: ShownStep[]
  /** Steps with completions in the folder. */
  of: number
}

/** Characters of text that the page may hold of all runs. */
const mostText = 900_000
const mostFiles = 24
const mostFileBytes = 2 ** 22
const mostTextOfMember = 8192
const mostTextOfPrompt = 4096

export async function readCompletions(
  runs: readonly { run: RunData; name: string }[],
  notices: string[],
): Promise<ShownRun[]> {
  const found = await Promise.all(
    runs.map(async each => ({ ...each, files: await filesOf(each.run.folder) })),
  )
  const having = found.filter(({ files }) => files.length > 0).slice(0, mostFiles)
  const filesEach = Math.max(1, Math.floor(mostFiles / Math.max(1, having.length)))
  const chosen = having.map(each => ({ ...each, chosen: spread(each.files, filesEach) }))
  const count = chosen.reduce((sum, each) => sum + each.chosen.length, 0)
  const shown: ShownRun[] = []
  for (const { run, name, files, chosen: some } of chosen) {
    const steps: ShownStep[] = []
    for (const { step, path } of some) {
      const read = await readStep(path, step, mostText / count, notices)
      if (read !== undefined) steps.push(read)
    }
    if (steps.length > 0) shown.push({ name: visibleLines(name), steps, of: files.length })
    void run
  }
  return shown
}

interface CompletionFile {
  step: number
  path: string
}

async function filesOf(folder: string): Promise<CompletionFile[]> {
  const path = join(folder, 'completions')
  const names = await readdir(path).catch(() => [])
  return names
    .flatMap(name => {
      const step = /^completions_(\d{1,15})\.jsonl$/.exec(name)?.[1]
      return step === undefined ? [] : [{ step: Number(step), path: join(path, name) }]
    })
    .sort((a, b) => a.step - b.step)
}

/** At most `count` items, the first and the last among them. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items]
  if (count === 1) return items.slice(-1)
  return Array.from(
    { length: count },
    (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))] as T,
  )
}

async function readStep(
  path: string,
  step: number,
  room: number,
  notices: string[],
): Promise<ShownStep | undefined> {
  try {
    const { handle, size } = await openRegularFile(path, { error: CheckpointError })
    await using file = { handle, [Symbol.asyncDispose]: () => handle.close() }
    const lines = await readLines(file.handle, Math.min(size, mostFileBytes), {
      mostLineBytes: mostFileBytes,
    })
    // The last line of a file that is not read to its end is torn by that.
    const bad = lines.bad - (size > mostFileBytes && lines.bad > 0 ? 1 : 0)
    if (bad > 0) notices.push(`${path}: ${countOf(bad, 'line')} left out: no JSON or torn`)
    if (size > mostFileBytes) notices.push(`${path}: only its first ${mostFileBytes >> 20} MiB read`)
    const groups = groupsOf(lines.values)
    return { step, groups: chosenGroups(groups, room), of: groups.length }
  } catch (error) {
    notices.push(`${path}: left out: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}

interface Row {
  prompt: string
  completion: string
  group: number
  demonstration: boolean
  reward: number | null
  advantage: number | null
  reason: string
  end: string
  pieces: readonly string[]
  logProbs: readonly number[]
  tokens: number
}

function groupsOf(values: readonly unknown[]): Row[][] {
  const groups = new Map<number, Row[]>()
  for (const value of values) {
    const row = rowOf(value)
    if (row === undefined) continue
    const group = groups.get(row.group)
    if (group) group.push(row)
    else groups.set(row.group, [row])
  }
  return [...groups.values()]
}

function rowOf(value: unknown): Row | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const given = value as Record<string, unknown>
  const string = (name: string) =>
    Object.hasOwn(given, name) && typeof given[name] === 'string' ? given[name] : ''
  const number = (name: string) =>
    Object.hasOwn(given, name) && typeof given[name] === 'number' && Number.isFinite(given[name])
      ? given[name]
      : null
  const list = <T>(name: string, kind: 'string' | 'number') => {
    const items = Object.hasOwn(given, name) ? given[name] : undefined
    return Array.isArray(items) && items.every(item => typeof item === kind) ? (items as T[]) : []
  }
  if (typeof given.completion !== 'string' && typeof given.prompt !== 'string') return undefined
  const pieces = list<string>('pieces', 'string')
  const ids = list<number>('token_ids', 'number')
  return {
    prompt: string('prompt'),
    completion: string('completion'),
    group: number('group') ?? 0,
    demonstration: given.source === 'off',
    reward: number('reward'),
    advantage: number('advantage'),
    reason: string('reason'),
    end: string('finish_reason'),
    pieces,
    logProbs: list<number>('logprobs', 'number'),
    tokens: Math.max(pieces.length, ids.length),
  }
}

export function outcomeOf(members: readonly { demonstration: boolean; reward: number | null }[]): Outcome {
  const rewards = members.flatMap(({ demonstration, reward }) =>
    demonstration || reward === null ? [] : [reward],
  )
  if (rewards.length === 0) return 'demonstrations'
  const solved = rewards.filter(reward => reward >= 1).length
  return solved === rewards.length ? 'solved' : solved > 0 ? 'mixed' : 'unsolved'
}

/** Groups within the room, of every outcome in turn, in the order of the file. */
function chosenGroups(groups: readonly Row[][], room: number): ShownGroup[] {
  const kinds: Outcome[] = ['mixed', 'solved', 'unsolved', 'demonstrations']
  const byKind = kinds.map(kind => groups.filter(group => outcomeOf(group) === kind))
  const inTurn = groups.flatMap((_, i) => byKind.flatMap(kind => (kind[i] ? [kind[i]] : [])))
  const chosen = new Map<Row[], ShownGroup>()
  let left = room
  for (const group of inTurn) {
    const cost = costOf(group)
    // The first group comes in any case, cut to the room.
    if (cost > left && chosen.size > 0) continue
    chosen.set(group, shownGroup(group, Math.max(200, Math.floor(left / Math.max(1, group.length)))))
    left -= cost
  }
  return groups.flatMap(group => chosen.get(group) ?? [])
}

/** Characters of the page that a group takes, about. */
function costOf(group: readonly Row[]): number {
  return group.reduce(
    (sum, row) =>
      sum +
      120 +
      Math.min(row.completion.length, mostTextOfMember) +
      5 * Math.min(row.tokens, mostTextOfMember),
    Math.min(group[0]?.prompt.length ?? 0, mostTextOfPrompt),
  )
}

function shownGroup(group: readonly Row[], room: number): ShownGroup {
  const prompt = group[0]?.prompt ?? ''
  const cut = prompt.length - mostTextOfPrompt
  return {
    outcome: outcomeOf(group),
    prompt:
      cut > 0
        ? `${visibleLines(prompt.slice(0, mostTextOfPrompt))}\n[${cut} characters left out]`
        : visibleLines(prompt),
    members: [...group]
      .slice(0, 64)
      .sort((a, b) => Number(b.demonstration) - Number(a.demonstration))
      .map(row => shownMember(row, Math.min(mostTextOfMember, room))),
  }
}

function shownMember(row: Row, most: number): ShownMember {
  const { demonstration, reward, advantage, tokens } = row
  const shared = { demonstration, reward, advantage, tokens, reason: short(row.reason), end: short(row.end) }
  if (row.pieces.length === 0) {
    const text = visibleLines(row.completion.slice(0, most))
    return { ...shared, text, lengths: [], surprise: [], cut: Math.max(0, row.completion.length - most) }
  }
  let text = ''
  let raw = 0
  const lengths: number[] = []
  for (const piece of row.pieces) {
    if (raw + piece.length > most) break
    raw += piece.length
    const visible = visibleLines(piece)
    text += visible
    lengths.push(visible.length)
  }
  const all = row.pieces.reduce((sum, piece) => sum + piece.length, 0)
  const surprise =
    row.logProbs.length === row.pieces.length
      ? row.logProbs
          .slice(0, lengths.length)
          .map(value => Math.max(0, Math.min(9999, Math.round(-100 * value))))
      : []
  return { ...shared, text, lengths, surprise, cut: all - raw }
}

function short(text: string): string {
  return visibleLines(text.slice(0, 200)).replaceAll('\n', ' ')
}
