// Native code never ends the process and never draws from a hidden state: no exit, abort or assert on anything a user
// can cause, no rand, no printing. Checked on the text without comments and strings.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'

const banned = [
  'abort',
  'assert',
  'exit',
  'fprintf',
  'printf',
  'puts',
  'quick_exit',
  'rand',
  'srand',
  'terminate',
  '_exit',
]

// Where a banned word is meant: programs of their own print what they found.
const allowed: Readonly<Record<string, readonly string[]>> = {
  'programs/bench-report.cpp': ['printf'],
  'programs/kernel-bench.cpp': ['printf', 'fprintf'],
  'programs/kernel-tests.cpp': ['printf', 'fprintf'],
}

function withoutCommentsAndStrings(text: string): string {
  return text
    .replace(/"(?:\\.|[^"\\\n])*"/g, '""')
    .replace(/\/\*[\s\S]*?\*\//g, match => match.replace(/[^\n]/g, ' '))
    .replace(/\/\/.*$/gm, '')
}

test('no banned call in native code', t => {
  const files = readdirSync(join(packageRoot, 'native'), { recursive: true, encoding: 'utf8' })
    .filter(name => /\.(h|cpp|cu)$/.test(name))
    .sort()
  t.true(files.length >= 30, `only ${files.length} native files found`)
  const pattern = new RegExp(`(?<![\\w.>])(${banned.join('|')})\\s*\\(`)
  const wrong: string[] = []
  for (const file of files) {
    const lines = withoutCommentsAndStrings(readFileSync(join(packageRoot, 'native', file), 'utf8')).split(
      '\n',
    )
    lines.forEach((line, index) => {
      const word = pattern.exec(line)?.[1]
      if (word && !allowed[file]?.includes(word)) wrong.push(`native/${file}:${index + 1}: ${word}`)
    })
  }
  t.deepEqual(wrong, [])
})

test('the check sees a banned call, and not a comment or a string', t => {
  const pattern = /(?<![\w.>])(abort)\s*\(/
  t.regex(withoutCommentsAndStrings('std::abort();'), pattern)
  t.notRegex(withoutCommentsAndStrings('// abort()\n/* abort() */ f("abort()");'), pattern)
})
