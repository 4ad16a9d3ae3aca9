// The help of every command: below 80 columns, complete (each option and command has its line), and true (what its
// examples and the README call is there).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ava from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { lastLine, luffy } from './_luffy.js'

const test = ava.serial

// Written by hand: an option that is added or dropped changes this page.
const commands: Record<string, string[]> = {
  '': ['-V, --version', '--json-errors', '-h, --help'],
  train: [
    '--set <key=value>',
    '--dry-run',
    '--resume',
    '--show-every <steps>',
    '--grace <seconds>',
    '-h, --help',
  ],
  sample: [
    '--prompt <text>',
    '--raw',
    '--n <count>',
    '--temperature <t>',
    '--max-tokens <count>',
    '--seed <seed>',
    '--device <name>',
    '--deterministic',
    '--dtype <name>',
    '--allow-nonfinite',
    '--json',
    '-h, --help',
  ],
  eval: [
    '--data <path>',
    '--suite <name>',
    '--out <folder>',
    '--template <name>',
    '--temperature <t>',
    '--top-p <p>',
    '--max-tokens <count>',
    '--samples <count>',
    '--limit <count>',
    '--seed <seed>',
    '--keep-order',
    '--keep-system',
    '--rope-theta <base>',
    '--max-positions <count>',
    '--device <name>',
    '--deterministic',
    '--dtype <name>',
    '--allow-nonfinite',
    '--json',
    '-h, --help',
  ],
  compare: ['--jobs <count>', '--seeds <list>', '--grace <seconds>', '--json', '-h, --help'],
  report: ['--out <file>', '--svg <folder>', '--title <text>', '--json', '-h, --help'],
  validate: ['--set <key=value>', '-h, --help'],
  estimate: ['--set <key=value>', '--json', '-h, --help'],
  config: ['-h, --help'],
  'config schema': ['-h, --help'],
  data: ['-h, --help'],
  'data inspect': [
    '--tokenizer <folder>',
    '--template <name>',
    '--column <name=column>',
    '--reward <name>',
    '--max-prompt-length <tokens>',
    '--max-completion-length <tokens>',
    '--rows <count>',
    '--sample <count>',
    '--skip-bad-rows',
    '--json',
    '-h, --help',
  ],
  methods: ['--json', '-h, --help'],
  bench: ['--json', '-h, --help'],
  doctor: ['--json', '-h, --help'],
  build: ['--cpu', '--cuda', '--clean', '--jobs <count>', '-h, --help'],
}

const names = Object.keys(commands).filter(name => name !== '' && !name.includes(' '))
const helps = new Map<string, string>()

test.before(async () => {
  for (const name of Object.keys(commands)) {
    const { stdout, stderr, code } = await luffy([...name.split(' ').filter(Boolean), '--help'], {
      COLUMNS: '300',
    })
    if (code !== 0 || stderr !== '') throw new Error(`${name}: ${stderr}`)
    helps.set(name, stdout)
  }
})

const optionsIn = (help: string) => [...help.matchAll(/^ {2}(-.*?)(?: {2,}|$)/gm)].map(match => match[1])

test('every line is below 80 columns, every option has its line and its words', t => {
  for (const [name, help] of helps) {
    for (const line of help.split('\n')) t.true(line.length < 80, `luffy ${name}: ${line.length}: ${line}`)
    t.deepEqual(optionsIn(help), commands[name], `luffy ${name}`)
    t.regex(help, /^Usage: luffy/)
    t.notRegex(help, /\(default:\s+(false|\[\])\)/)
    // A description behind each option, on its line or the next.
    for (const match of help.matchAll(/^ {2}-.*$/gm)) {
      t.regex(help.slice(match.index), /^ {2}-\S.*?(?: {2,}|\n {10,})\w/, `luffy ${name}: ${match[0]}`)
    }
  }
})

test('the help names every command, and the README shows each', t => {
  const listed = [...(helps.get('') ?? '').matchAll(/^ {2}(\w+)(?: |$).* {2,}\w/gm)].map(match => match[1])
  t.deepEqual(listed, [...names, 'help'])
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
  for (const name of Object.keys(commands).filter(name => name !== '' && name !== 'config')) {
    t.true(readme.includes(`npx luffy ${name}`), name)
  }
})

test('the examples of the help, the README and the documents use commands and options that are there', t => {
  const texts = [
    'README.md',
    'docs/configuration.md',
    'docs/data.md',
    'docs/reliability.md',
    'CONTRIBUTING.md',
  ]
    .map(path => readFileSync(join(packageRoot, path), 'utf8'))
    .concat([...helps.values()])
  const calls = texts.flatMap(text => [...text.matchAll(/(?:\$|npx) luffy (\w+)([^\n`#;]*)/g)])
  t.true(calls.length >= 12, `only ${calls.length} found`)
  for (const [call, name = '', rest = ''] of calls) {
    t.true(names.includes(name), call)
    const group = Object.keys(commands).filter(other => other === name || other.startsWith(`${name} `))
    const known = [...group, ''].flatMap(other => commands[other] ?? []).join(' ')
    for (const [option] of rest.matchAll(/--[a-z][\w-]*/g)) t.true(known.includes(option), call)
  }
})

test('exit codes of the help are those of the documents', t => {
  const help = (helps.get('') ?? '').replaceAll('\n', ' ')
  const documented = [
    ...readFileSync(join(packageRoot, 'docs/reliability.md'), 'utf8').matchAll(/^\| (\d+)(?:, (\d+))? \|/gm),
  ].flatMap(match => [match[1], match[2]].filter(Boolean))
  t.true(documented.length >= 10)
  for (const code of documented) t.regex(help, new RegExp(`\\b${code} `), `exit code ${code}`)
})

test('a group of commands without a command shows its help, a misspelt one names the nearest', async t => {
  const shown = await luffy(['config'])
  t.regex(shown.stdout + shown.stderr, /Usage: luffy config/)
  const wrong = await luffy(['config', 'shema'])
  t.is(wrong.code, 2)
  t.regex(lastLine(wrong.stderr), /unknown command 'shema'; did you mean schema\?|shema/)
})
