// What the command says and with which code it ends: help, wrong command lines, errors by class, closed pipes.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ava from 'ava'
import { methods } from '../../lib/index.js'
import { packageRoot } from '../../lib/native-loader.js'
import { lastLine, luffy, script } from './_luffy.js'

// One process after the other: each has as many threads as there are cores.
const test = ava.serial

test('--version is that of package.json, help goes to stdout, and both are no errors', async t => {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
  }
  const shown = await luffy(['--version'])
  t.is(shown.stdout.trim(), version)
  t.is(shown.code, 0)
  for (const args of [[], ['--help'], ['help'], ['train', '--help'], ['help', 'sample']]) {
    const { code, stdout, stderr } = await luffy(args)
    t.is(code, 0, args.join(' '))
    t.regex(stdout, /^Usage: luffy/, args.join(' '))
    t.is(stderr, '', args.join(' '))
  }
})

test('the help shows examples and exit codes', async t => {
  const { stdout } = await luffy(['--help'])
  t.regex(stdout, /Examples:\n {2}\$ luffy train /)
  t.regex(stdout, /Exit codes: 0 done, 1 a bug/)
})

const failures: { args: string[]; code: number; line: RegExp; env?: Record<string, string> }[] = [
  { args: ['trian', 'x.yaml'], code: 2, line: /unknown command "trian"; did you mean "train"\?$/ },
  { args: ['help', 'trian'], code: 2, line: /unknown command "trian"; did you mean "train"\?$/ },
  { args: ['frobnicate'], code: 2, line: /unknown command "frobnicate"; known: train, / },
  { args: ['train'], code: 2, line: /missing required argument 'config'; see luffy train --help$/ },
  { args: ['train', 'a.yaml', 'b.yaml'], code: 2, line: /too many arguments for 'train'/ },
  {
    args: ['train', 'a.yaml', '--resum'],
    code: 2,
    line: /unknown option '--resum'; did you mean --resume\?$/,
  },
  { args: ['train', '/nowhere.yaml'], code: 2, line: /^luffy: \/nowhere\.yaml: no such file$/ },
  { args: ['sample', '/nowhere'], code: 3, line: /\/nowhere: no such folder; expected a checkpoint/ },
  { args: ['sample', '/', '--prompt', 'x'], code: 3, line: /neither config\.json nor a checkpoint/ },
  { args: ['sample', '/', '--n', '0'], code: 2, line: /expected an integer of at least 1, got "0"/ },
  {
    args: ['sample', '/', '--temperature', '-1'],
    code: 2,
    line: /expected a number of at least 0, got "-1"/,
  },
  {
    args: ['build', '--cuda'],
    code: 7,
    line: /the CUDA kernels have no build of their own; luffy build makes them/,
  },
  { args: ['build', '--cpu', '--cuda'], code: 2, line: /expected --cpu or --cuda, got both/ },
  { args: ['doctor'], code: 7, line: /do not load.*LUFFY_NATIVE/, env: { LUFFY_NATIVE: '/nowhere.node' } },
]

for (const { args, code, line, env } of failures) {
  test(`luffy ${args.join(' ')}: exit code ${code} and one line`, async t => {
    const result = await luffy(args, env)
    t.is(result.code, code, result.stderr)
    t.regex(lastLine(result.stderr), line)
    t.is(result.stderr.trimEnd().split('\n').length, 1)
  })
}

test('--json-errors gives the last line as JSON, wherever the option stands', async t => {
  for (const args of [
    ['--json-errors', 'train', '/nowhere.yaml'],
    ['train', '/nowhere.yaml', '--json-errors'],
  ]) {
    const { code, stderr } = await luffy(args)
    const report = JSON.parse(lastLine(stderr)) as Record<string, unknown>
    t.is(code, 2)
    t.like(report, { error: 'ConfigError', code: 'CONFIG_INVALID', exitCode: 2, path: '/nowhere.yaml' })
    t.is(report.message, '/nowhere.yaml: no such file')
  }
})

test('the stack is shown with LUFFY_DEBUG=1 alone, above the line', async t => {
  const plain = await luffy(['train', '/nowhere.yaml'])
  const debug = await luffy(['train', '/nowhere.yaml'], { LUFFY_DEBUG: '1' })
  t.notRegex(plain.stderr, /at .*\.js/)
  t.regex(debug.stderr, /at .*\.js/)
  t.is(lastLine(debug.stderr), lastLine(plain.stderr))
})

test('luffy methods names every method with what it minimizes', async t => {
  const { code, stdout } = await luffy(['methods'])
  t.is(code, 0)
  for (const name of Object.keys(methods)) t.regex(stdout, new RegExp(`^ {2}${name} +\\S`, 'm'))
  t.regex(stdout, /A p\/\(p \+ 0\.1\)/)
  // Group and advantage as the README has them: supervised members count in no mean.
  for (const [name, group, advantage] of [
    ['luffy', 'samples, demonstrations', 'R - mean'],
    ['rlWithSftLoss', 'samples, demonstrations', 'R - mean of samples'],
    ['sftThenRl', 'demonstrations, then samples', 'R - mean'],
    ['exgrpo', 'samples, past successes', 'R - mean'],
    ['chord', 'samples, demonstrations', '(R - mean of samples) / std'],
    ['hpt', 'samples or demonstrations', 'R - mean of samples'],
  ]) {
    const row = stdout.split('\n').find(line => line.startsWith(`${name} `) && line.includes('|'))
    t.deepEqual(
      row
        ?.split('|')
        .slice(1, 3)
        .map(cell => cell.trim()),
      [group, advantage],
      name,
    )
  }
  const { stdout: json } = await luffy(['methods', '--json'])
  t.deepEqual(
    (JSON.parse(json) as { name: string }[]).map(({ name }) => name),
    Object.keys(methods),
  )
})

test('luffy doctor --json is one JSON value', async t => {
  const { code, stdout } = await luffy(['doctor', '--json'])
  t.is(code, 0)
  t.like(JSON.parse(stdout), { ok: true, node: process.version })
})

test('a reader that goes away ends the command quietly', async t => {
  const child = spawn(process.execPath, [fileURLToPath(script), 'methods'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number]
  t.is(stderr, '')
  t.is(code, 0)
})

test('no colour and no terminal codes where stdout is a pipe', async t => {
  for (const args of [['methods'], ['--help'], ['doctor']]) {
    const { stdout, stderr } = await luffy(args, { NO_COLOR: '' })
    t.false((stdout + stderr).includes('\u001b'), args.join(' '))
  }
})
