// Run folders for the tests of the report, written as training writes them, and worse.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const hostile = [
  '</script><script>globalThis.pwned = 1</script>',
  '<img src="http://127.0.0.1:9/x" onerror="globalThis.pwned = 2">',
  '<svg onload="globalThis.pwned = 3"><style>body{display:none}</style>',
  '<!-- <script> ]]> &lt; &#x3c; "quotes\' `ticks` onclick=globalThis.pwned=4',
  'javascript:globalThis.pwned = 5',
  '\x1b]0;title\x07\x1b[31mred\x1b[2J\x9b1m bell\x07 nul\x00',
  'bidi \u202egnp.exe \u2066isolate\u2069 \u200fmark',
  'lone \ud800 and \udc00, \ufffe \uffff, \u2028line\u2029paragraph',
] as const

export interface RunShape {
  method?: string
  seed?: number
  steps: number
  /** Changes or adds to the row of a step. */
  row?: (step: number) => Record<string, unknown>
  completions?: Record<number, readonly Record<string, unknown>[]>
}

/** A whole row of metrics: a policy that learns, more slowly for later seeds. */
export function metricsRow(step: number, seed = 0): Record<string, unknown> {
  const learned = 1 / (1 + Math.exp(-(step - 20 - 5 * seed) / 5))
  const bin = Math.min(17, Math.floor(18 * learned))
  return {
    step,
    reward: learned,
    'batch/solve_all': learned * learned,
    'batch/solve_some': learned * (1 - learned),
    'batch/solve_none': 1 - learned,
    'completions/mean_length': 30 + Math.sin(step),
    'completions/clipped_ratio': 0.1 * (1 - learned),
    entropy: 0.3 * (1 - learned),
    'luffy/on_policy_prob': 0.9,
    'luffy/off_policy_prob': 0.2 + 0.6 * learned,
    'luffy/on_policy_tokens': 400,
    'luffy/off_policy_tokens': 50,
    grad_norm: 0.5,
    step_time: 1.3,
    'perf/rollout_s': 0.7,
    'perf/reward_s': 0.05,
    'perf/update_s': 0.5,
    'perf/tokens_per_second': 9000 + 100 * Math.cos(step),
    'perf/sampled_tokens_per_second': 21000,
    'luffy/off_weight_histogram': Array.from({ length: 20 }, (_, i) => (i === bin ? 30 : i === 2 ? 20 : 0)),
  }
}

export function completion(
  group: number,
  text: string,
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  const pieces = [...text]
  return {
    step: 1,
    prompt: `prompt ${group}`,
    completion: text,
    reward: 0,
    reason: 'wrong answer',
    group,
    source: 'on',
    advantage: -0.25,
    finish_reason: 'stop',
    token_ids: pieces.map((_, i) => i),
    logprobs: pieces.map((_, i) => -i / 10),
    pieces,
    ...more,
  }
}

export async function writeRun(folder: string, shape: RunShape): Promise<string> {
  const { method = 'luffy', seed = 0, steps, row, completions = {} } = shape
  await mkdir(join(folder, 'completions'), { recursive: true })
  const config = {
    method,
    seed,
    runName: 'made',
    bestBy: 'hard',
    objective: { shaping: { kind: 'regularized', gamma: 0.1 } },
  }
  await writeFile(join(folder, 'config.yaml'), JSON.stringify(config))
  const lines: string[] = []
  const accuracy = (step: number) =>
    JSON.stringify({
      step,
      'eval_accuracy/easy': 0.5,
      'eval_accuracy/hard': Math.min(1, step / steps || 0),
      'perf/evaluation_s': 2,
    })
  lines.push(accuracy(0))
  for (let step = 1; step <= steps; step++)
    lines.push(JSON.stringify({ ...metricsRow(step, seed), ...row?.(step) }))
  lines.push(accuracy(steps))
  await writeFile(join(folder, 'metrics.jsonl'), `${lines.join('\n')}\n`)
  for (const [step, rows] of Object.entries(completions)) {
    const name = `completions_${step.padStart(5, '0')}.jsonl`
    await writeFile(join(folder, 'completions', name), rows.map(each => `${JSON.stringify(each)}\n`).join(''))
  }
  return folder
}
