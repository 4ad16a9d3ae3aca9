// The documents do not rot: links lead to files, quoted code stands where it is linked, options are those of the schema.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { methods } from '../lib/index.js'
import { packageRoot } from '../lib/native-loader.js'
import { trainConfigOptions } from '../lib/training/train-config.js'

const read = (path: string) => readFileSync(join(packageRoot, path), 'utf8')
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(join(packageRoot, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
]

interface Link {
  document: string
  text: string
  path: string
  first: number | undefined
  last: number | undefined
}

function linksOf(document: string): Link[] {
  return [...read(document).matchAll(/\[([^\]\n]+|`[^`\n]+`)\]\(([^)\s#]+)(?:#L(\d+)(?:-L(\d+))?)?\)/g)]
    .filter(match => !/^https?:/.test(match[2] ?? ''))
    .map(match => ({
      document,
      text: match[1] ?? '',
      path: join(dirname(document), match[2] ?? ''),
      first: match[3] === undefined ? undefined : Number(match[3]),
      last: Number(match[4] ?? match[3]),
    }))
}

const links = documents.flatMap(linksOf)

// Lines move a little as code is written; a link that is further off than this misleads.
const tolerance = 30

test('every link leads to a file, and its lines are in it', t => {
  t.true(links.length >= 50, `only ${links.length} links found`)
  for (const { document, path, first, last } of links) {
    t.true(existsSync(join(packageRoot, path)), `${document}: ${path}`)
    if (first !== undefined)
      t.true(
        first <= (last ?? 0) && (last ?? 0) <= read(path).split('\n').length + tolerance,
        `${document}: ${path}`,
      )
  }
})

test('the code quoted in docs/luffy.md stands at the lines that are linked', t => {
  const quoted = links.filter(
    ({ document, text, first }) =>
      document === 'docs/luffy.md' && text.startsWith('`') && first !== undefined,
  )
  t.true(quoted.length >= 30, `only ${quoted.length} quotes found`)
  for (const { text, path, first } of quoted) {
    const code = text.slice(1, -1)
    if (path.endsWith(code)) continue
    const found = read(path)
      .split('\n')
      .flatMap((line, i) => (line.includes(code) ? [i + 1] : []))
    const near = found.some(line => Math.abs(line - (first ?? 0)) <= tolerance)
    t.true(
      near,
      `${path}: ${JSON.stringify(code)} is linked at line ${first}, stands at ${found.join(', ') || 'none'}`,
    )
  }
})

test('docs/configuration.md lists every option with its default, and no other', t => {
  const rows = [
    ...read('docs/configuration.md').matchAll(/^\| `([\w.]+)` \| (?:`(.*?)`|(-|method)) \|/gm),
  ].map(match => [match[1], match[2] ?? match[3]] as const)
  const options = trainConfigOptions()
  const groups = new Set(
    options.flatMap(({ name }) =>
      name
        .split('.')
        .slice(0, -1)
        .map((_, i, all) => all.slice(0, i + 1).join('.')),
    ),
  )
  const expected = options
    .filter(({ name }) => !groups.has(name))
    .map(({ name, default: value }) => {
      const ofMethod = name.startsWith('objective.') || name.startsWith('advantages.')
      return [name, value === undefined ? (ofMethod ? 'method' : '-') : JSON.stringify(value)] as const
    })
  t.true(expected.length >= 40)
  t.deepEqual(new Map(rows), new Map(expected))
  t.is(rows.length, expected.length)
})

test('the README names every method', t => {
  for (const name of Object.keys(methods)) t.regex(read('README.md'), new RegExp(`^\\| \`${name}\` \\|`, 'm'))
})
