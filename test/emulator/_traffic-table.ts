// The table of docs/kernels.md, made of the committed records of traffic, registers and machine code.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/native-loader.js'
import { architectures, findBudget, occupancy } from './_budgets.js'
import { baseName, type KernelRecord, sectorUse, type TrafficRecord } from './_traffic.js'

/** What bounds a kernel on a card, as far as its arithmetic says; times come from cards. */
export const boundBy: Readonly<Record<string, string>> = {
  adamw_kernel: 'memory',
  add_column_sums_kernel: 'its launch',
  add_indexed_rows_kernel: 'memory',
  add_rows_kernel: 'memory',
  attention_add_heads_kernel: 'memory',
  attention_backward_bf16_keys_kernel: 'shared memory, feeding tensor cores',
  attention_backward_bf16_queries_kernel: 'shared memory, feeding tensor cores',
  attention_backward_keys_kernel: 'float32 arithmetic',
  attention_backward_queries_kernel: 'float32 arithmetic',
  attention_decode_bf16_kernel: 'memory: the cache',
  attention_decode_kernel: 'memory: the cache',
  attention_decode_merge_bf16_kernel: 'its launch',
  attention_delta_bf16_kernel: 'memory',
  attention_delta_kernel: 'memory',
  attention_forward_bf16_kernel: 'tensor cores',
  attention_forward_kernel: 'float32 arithmetic',
  cast_kernel: 'memory',
  column_sums_kernel: 'memory',
  copy_indexed_rows_kernel: 'memory',
  fill_kernel: 'memory',
  gradient_norm_chunks_kernel: 'memory',
  gradient_norm_control_kernel: 'its launch',
  group_advantages_kernel: 'its launch',
  kv_cache_append_bf16_kernel: 'its launch',
  kv_cache_append_kernel: 'its launch',
  kv_cache_copy_bf16_kernel: 'memory',
  kv_cache_copy_kernel: 'memory',
  linear_pack_kernel: 'memory',
  logits_policy_loss_kernel: 'memory',
  logits_policy_loss_staged_kernel: 'memory',
  matmul_bf16_kernel: 'tensor cores',
  matmul_bf16_gated_sum_kernel: 'memory',
  matmul_bf16_sum_kernel: 'memory',
  matmul_combine_kernel: 'memory',
  matmul_kernel: 'float32 arithmetic',
  policy_loss_kernel: 'its launch',
  policy_metrics_kernel: 'sums in order',
  reduce_chunks_kernel: 'memory',
  reduce_partials_kernel: 'its launch',
  rms_norm_add_partials_kernel: 'its launch',
  rms_norm_backward_kernel: 'memory',
  rms_norm_forward_kernel: 'memory',
  rope_kernel: 'memory',
  sample_tokens_kernel: 'memory',
  sort_begin_kernel: 'its launch',
  sort_count_kernel: 'its launch',
  sort_place_kernel: 'its launch',
  swiglu_backward_kernel: 'memory',
  swiglu_forward_kernel: 'memory',
  token_log_prob_backward_kernel: 'memory',
  token_log_prob_forward_kernel: 'memory',
}

const kilobytes = (bytes: number) => (bytes < 10_240 ? (bytes / 1024).toFixed(1) : (bytes / 1024).toFixed(0))
const percent = (share: number) => `${Math.floor(100 * share)}`

function rowOf(name: string, kernel: string, record: KernelRecord, notes: string[]): string {
  const instance = record.instances[0] as string
  const found = architectures.map(arch => findBudget(instance, arch).budget)
  const residence = architectures.map((arch, i) =>
    percent(occupancy(arch, found[i]!, record.threads, record.sharedBytes)),
  )
  const marks = (record.why ?? []).map(why => {
    if (!notes.includes(why)) notes.push(why)
    return ` (${notes.indexOf(why) + 1})`
  })
  const bound = boundBy[kernel]
  if (bound === undefined) throw new Error(`${kernel}: _traffic-table.ts does not say what bounds it`)
  return `| ${[
    `\`${kernel.replace(/_kernel$/, '')}\``,
    name.replace(/^bfloat16: (.*)/, '$1, bfloat16'),
    bound,
    `${kilobytes(record.minimalRead)} + ${kilobytes(record.minimalWritten)}`,
    `${record.ratio.toFixed(2)}${marks.join('')}`,
    `${percent(sectorUse(record.idealLoadSectors, record.loadSectors))}, ${percent(sectorUse(record.idealStoreSectors, record.storeSectors))}`,
    record.intensity.toFixed(record.intensity < 10 ? 1 : 0),
    found.map(({ registers }) => registers).join(', '),
    residence.join(', '),
  ].join(' | ')} |`
}

/** The first case of every kernel, and where bfloat16 is another instance, the first of it. */
export function kernelTable(record: TrafficRecord): string {
  const rows = new Map<string, string>()
  const instances = new Set<string>()
  const notes: string[] = []
  for (const names of Object.values(record)) {
    for (const [name, kernels] of Object.entries(names)) {
      for (const [kernel, counted] of Object.entries(kernels)) {
        const key = `${baseName(kernel)} ${name.startsWith('bfloat16')}`
        const instance = counted.instances[0] as string
        if (rows.has(key) || instances.has(instance)) continue
        instances.add(instance)
        rows.set(key, rowOf(name, kernel, counted, notes))
      }
    }
  }
  return [
    '| kernel | case | bound by | least KiB, read + written | moved / least | sectors %, read, written | FLOP / byte | registers | occupancy % |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows.values(),
    '',
    ...notes.map((note, i) => `${i + 1}. ${note[0]?.toUpperCase()}${note.slice(1)}.`),
  ].join('\n')
}

export const documentPath = join(packageRoot, 'docs/kernels.md')
const [begin, end] = ['<!-- made by scripts/kernel-traffic.mjs -->\n\n', '\n\n<!-- end -->']

/** docs/kernels.md with this table. */
export function documentWith(table: string): string {
  const text = readFileSync(documentPath, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from)
    throw new Error(`docs/kernels.md: no place for the table between ${begin.trim()} and ${end.trim()}`)
  return text.slice(0, from + begin.length) + table + text.slice(to)
}
