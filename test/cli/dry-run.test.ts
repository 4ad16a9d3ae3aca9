// `train --dry-run`, `validate` and `config schema`: what they say, and that they change nothing.
import { createHash } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { parse } from 'yaml'
import { trainConfigOptions } from '../../lib/training/train-config.js'
import { folderWithBase, lastLine, luffy, quickRun } from './_luffy.js'

const test = ava.serial

/** Every file below a folder with its content and time, as one text. */
async function snapshot(folder: string): Promise<string> {
  const lines: string[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const status = await stat(path)
    const digest = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(path))
          .digest('hex')
      : 'folder'
    lines.push(`${path} ${status.mtimeMs} ${digest}`)
  }
  return lines.sort().join('\n')
}

test('a dry run prints the configuration and what would happen, and writes nothing', async t => {
  const folder = await folderWithBase(t)
  const config = join(folder, 'run.yaml')
  await writeFile(config, 'model: x\nnum_generations: 3\n')
  const args = (name: string, more: Record<string, unknown> = {}) => {
    const set = quickRun(folder, name, { evalSteps: 2, ...more })
    const at = set.findIndex(value => value.startsWith('numGenerations='))
    return ['train', config, ...set.toSpliced(at - 1, 2)]
  }
  const before = await snapshot(folder)
  const fresh = await luffy([...args('r'), '--dry-run'])
  t.is(fresh.code, 0, fresh.stderr)
  t.is(await snapshot(folder), before)
  t.is(fresh.stderr, 'configuration: names of TRL or verl: num_generations is numGenerations\n')
  const resolved = parse(fresh.stdout) as Record<string, unknown>
  t.like(resolved, { model: join(folder, 'base'), numGenerations: 3, bestBy: 'hard', weightDecay: 0.01 })
  t.regex(fresh.stdout, /^# dry run, nothing was written$/m)
  t.regex(fresh.stdout, /^# would start a run of 3 steps in .*\/r \(a new folder\)$/m)
  t.regex(fresh.stdout, /^# device cpu, \w+ kernels, \d+ threads?$/m)
  t.regex(
    fresh.stdout,
    /^# model .*base: a qwen2 of \S+k? parameters; with gradients and moments \d+\.\d MiB$/m,
  )
  t.regex(fresh.stdout, /^# each step: 2 prompts, each with 2 samples and 1 demonstration, 1 update$/m)
  t.regex(
    fresh.stdout,
    /^# evaluates id, .*hard.* before the first step, every 2 steps and at the end; the best is by hard$/m,
  )
  t.regex(fresh.stdout, /^# saves every 50 steps and at the end, keeps 2 and the best$/m)

  const two = await luffy([...args('two', { method: 'sftThenRl', 'methodOptions.sftSteps': 2 }), '--dry-run'])
  t.regex(
    two.stdout,
    /^# each of steps 1 to 2 \(sft\): 2 prompts, each with 0 samples and 1 demonstration, 1 update\n# each of steps 3 to 3 \(sftThenRl\): 2 prompts, each with 3 samples and 0 demonstrations, 1 update$/m,
  )

  const ran = await luffy(args('r'))
  t.is(ran.code, 0, ran.stderr)
  t.is(ran.stderr.split('num_generations').length, 2, 'the notice comes once')
  const after = await snapshot(folder)
  const more = await luffy([...args('r', { maxSteps: 9 }), '--dry-run', '--resume'])
  t.regex(more.stdout, /^# option changed: maxSteps was 3, is 9$/m)
  t.regex(more.stdout, /^# would go on after step 3 of 9, from .*\/r\/checkpoint-3$/m)
  const done = await luffy([...args('r'), '--dry-run'])
  t.regex(done.stdout, /^# .*\/r is done: step 3 of 3$/m)
  const changed = await luffy([...args('r', { learningRate: 1 }), '--dry-run'])
  t.is(changed.code, 4)
  t.regex(lastLine(changed.stderr), /learningRate was 0.0001, is 1/)
  t.is(await snapshot(folder), after)
})

test('a dry run and validate fail as the run would, and leave nothing', async t => {
  const folder = await folderWithBase(t)
  const config = join(folder, 'run.yaml')
  await writeFile(config, 'model: x\n')
  const before = await snapshot(folder)
  const dry = ['train', '--dry-run']
  const cases: [string[], Record<string, unknown>, number, RegExp][] = [
    [dry, { model: join(folder, 'none') }, 3, /none: no such folder/],
    [['train'], { model: join(folder, 'none') }, 3, /none: no such folder/],
    [['validate'], { device: 'gpu' }, 2, /--set device=gpu: unknown device "gpu"; did you mean "cuda"/],
    [['validate'], { device: 'cuda' }, 7, /device cuda is not available/],
    [dry, { device: 'cuda' }, 7, /device cuda is not available/],
    [
      ['validate'],
      { bestBy: 'hrd' },
      2,
      /bestBy: the task op-chains has no set "hrd"; did you mean "hard"\?/,
    ],
    [
      ['train'],
      { loss_type: 'dapo', 'objective.reduction.kind': 'token-mean' },
      2,
      /--set loss_type=dapo: is another name of/,
    ],
  ]
  for (const [[name = '', ...options], more, code, line] of cases) {
    const result = await luffy([name, config, ...quickRun(folder, 'r', more), ...options])
    t.is(result.code, code, `${name}: ${result.stderr}`)
    t.regex(lastLine(result.stderr), line)
    t.is(result.stderr.trimEnd().split('\n').length, 1)
    t.is(result.stdout, '')
  }
  t.is(await snapshot(folder), before)
})

test('config schema is a JSON Schema of every option', async t => {
  const { code, stdout } = await luffy(['config', 'schema'])
  t.is(code, 0)
  type Node = {
    properties?: Record<string, Node>
    additionalProperties?: boolean
    required?: string[]
    default?: unknown
  }
  const schema = JSON.parse(stdout) as Node & { $schema: string }
  t.regex(schema.$schema, /json-schema\.org\/draft\/2020-12/)
  t.deepEqual(schema.required, ['model'])
  const names: string[] = []
  const walk = (node: Node, prefix: string) => {
    if (node.properties === undefined) return
    t.is(node.additionalProperties, false, prefix)
    for (const [name, inner] of Object.entries(node.properties)) {
      names.push(prefix + name)
      walk(inner, `${prefix}${name}.`)
    }
  }
  walk(schema, '')
  t.deepEqual(
    names,
    trainConfigOptions().map(({ name }) => name),
  )
  t.is(schema.properties?.weightDecay?.default, 0.01)
})
