// diverged/ in a run folder: what a run that stopped diverged leaves behind, enough to replay the step that failed and of
// bounded size. Never a checkpoint: nothing resumes from it.
//
//   report.json    the error, the step, metrics, counters, the last good checkpoint
//   config.yaml    the resolved configuration
//   groups.jsonl   one line per group of the update that failed; prompts alone where sampling failed
//   policy/        the policy and its moments as they were when it failed, where they are small enough
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { CheckpointError, type NonFiniteError } from '../errors.js'
import { syncDirectory, writeFileDurable } from '../io/atomic.js'
import { readRegularFile } from '../io/regular-file.js'
import { TokenKind } from '../ops/policy-objective.js'
import type { CheckedMember, GroupMember, PreparedGroups, TrainGroup } from './groups.js'
import { metricRecord, type StepMetrics } from './metrics.js'
import type { ResolvedTrainConfig } from './train-config.js'
import type { Trainer } from './trainer.js'

/** What a step had come to when it failed. */
export interface FailedStep {
  step: number
  prompts: readonly Int32Array[]
  /** Groups of the update that failed; undefined where it failed before. */
  groups?: PreparedGroups | undefined
  learningRate?: number | undefined
  /** Of the rollout, and of the updates of this step that were done. */
  rollout?: Partial<StepMetrics> | undefined
  updates: readonly StepMetrics[]
}

export interface DivergedRun {
  step: number
  error: { code: string; message: string; details?: unknown }
  learningRate: number | null
  /** The newest checkpoint of the run, from which it can be resumed. */
  checkpoint: string | null
  /** Whether policy/ was written. */
  policy: boolean
  /** Groups that did not fit. */
  omittedGroups: number
}

export const divergedFolderName = 'diverged'
/** Bounds of groups.jsonl, and of policy/ (weights and two moments). */
export const mostGroupBytes = 32 * 2 ** 20
export const mostPolicyBytes = 256 * 2 ** 20

/** Writes the folder, in the place of an earlier one, and returns its path. */
export async function writeDiverged(
  runFolder: string,
  failed: FailedStep,
  error: NonFiniteError,
  {
    config,
    trainer,
    checkpoint,
  }: { config: ResolvedTrainConfig; trainer: Trainer; checkpoint: string | undefined },
): Promise<string> {
  const folder = join(runFolder, divergedFolderName)
  const temporary = `${folder}.tmp-${process.pid}`
  await rm(temporary, { recursive: true, force: true })
  await mkdir(temporary)
  try {
    const { text, omitted } = groupLines(failed)
    await writeFileDurable(join(temporary, 'groups.jsonl'), text)
    await writeFileDurable(join(temporary, 'config.yaml'), stringify(JSON.parse(JSON.stringify(config))))
    const small = 3 * 4 * trainer.policy.parameterCount <= mostPolicyBytes
    if (small) {
      await trainer.policy.save(join(temporary, 'policy'), { tokenizerFrom: null })
      await trainer.saveState(join(temporary, 'policy'))
    }
    const { code, message, details } = error
    const report: DivergedRun & Record<string, unknown> = {
      step: failed.step,
      error: { code, message, ...(details ? { details } : {}) },
      learningRate: failed.learningRate ?? null,
      checkpoint: checkpoint ?? null,
      policy: small,
      omittedGroups: omitted,
      trainer: trainer.state,
      rollout: failed.rollout ? metricRecord({ step: failed.step, ...failed.rollout }) : null,
      updates: failed.updates.map(metricRecord),
    }
    await writeFileDurable(join(temporary, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
    await rm(folder, { recursive: true, force: true })
    await rename(temporary, folder)
    await syncDirectory(runFolder)
    return folder
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** The report and the groups of a diverged/ folder: `trainStep(groups)` on its policy/ does the update again. */
export async function readDiverged(folder: string): Promise<{ report: DivergedRun; groups: TrainGroup[] }> {
  const read = async (name: string, most: number) =>
    (await readRegularFile(join(folder, name), most, { within: folder, error: CheckpointError })).toString(
      'utf8',
    )
  const report = JSON.parse(await read('report.json', 2 ** 24)) as DivergedRun
  const lines = (await read('groups.jsonl', 2 * mostGroupBytes)).split('\n').filter(line => line !== '')
  return { report, groups: lines.map(line => groupOf(JSON.parse(line) as Line)) }
}

/** A member as JSON: numbers of float32 survive the trip to the bit. */
interface LineMember {
  tokens: number[]
  promptLength: number
  offPolicy: number[]
  supervised?: boolean | undefined
  weight?: number | undefined
  mask: number[]
  reward?: number | undefined
  /** null: computed from the group's rewards, and beyond float32. */
  advantage: number | number[] | null
  oldLogProbs?: number[] | undefined
  teacherProbs?: number[] | undefined
  refLogProbs?: number[] | undefined
}

interface Line {
  prompt?: number[]
  members: LineMember[]
}

function groupLines({ groups, prompts }: FailedStep): { text: string; omitted: number } {
  const members: readonly (readonly CheckedMember[])[] = groups?.members ?? []
  const lines: Line[] =
    groups === undefined
      ? prompts.map(prompt => ({ prompt: [...prompt], members: [] }))
      : members.map(group => ({ members: group.map(lineOf) }))
  let text = ''
  for (const [i, line] of lines.entries()) {
    const next = `${JSON.stringify(line)}\n`
    if (text.length + next.length > mostGroupBytes) return { text, omitted: lines.length - i }
    text += next
  }
  return { text, omitted: 0 }
}

function lineOf(member: CheckedMember): LineMember {
  const { tokens, promptLength, kinds, reward, advantage = 0 } = member
  const list = (values: Float32Array | undefined) => (values === undefined ? undefined : [...values])
  return {
    tokens: [...tokens],
    promptLength,
    offPolicy: [...kinds].map(kind =>
      kind === TokenKind.offPolicy || kind === TokenKind.supervised ? 1 : 0,
    ),
    supervised: member.inSftTerm || undefined,
    weight: member.weight === 1 ? undefined : member.weight,
    mask: [...kinds].map(kind => (kind === TokenKind.masked ? 0 : 1)),
    reward,
    advantage: typeof advantage === 'number' ? advantage : [...advantage],
    oldLogProbs: list(member.oldLogProbs),
    teacherProbs: list(member.teacherProbs),
    refLogProbs: list(member.refLogProbs),
  }
}

/** Advantages beyond float32 cannot be given: there the rewards, which can, give them again. */
function groupOf({ members }: Line): TrainGroup {
  const computed = members.some(({ advantage }) => advantage === null)
  return { members: members.map(member => memberOf(member, !computed)) }
}

function memberOf(line: LineMember, withAdvantage: boolean): GroupMember {
  const { tokens, promptLength, offPolicy, mask, reward, advantage } = line
  return {
    tokens: Int32Array.from(tokens),
    promptLength,
    offPolicy: Uint8Array.from(offPolicy),
    ...(line.supervised === undefined ? {} : { supervised: line.supervised }),
    ...(line.weight === undefined ? {} : { weight: line.weight }),
    mask: Uint8Array.from(mask),
    ...(withAdvantage && advantage !== null
      ? { advantage: typeof advantage === 'number' ? advantage : Float32Array.from(advantage) }
      : {}),
    ...(reward === undefined ? {} : { reward }),
    ...(line.oldLogProbs ? { oldLogProbs: Float32Array.from(line.oldLogProbs) } : {}),
    ...(line.teacherProbs ? { teacherProbs: Float32Array.from(line.teacherProbs) } : {}),
    ...(line.refLogProbs ? { refLogProbs: Float32Array.from(line.refLogProbs) } : {}),
  }
}
