// The table of completions that training shows: the question of each prompt, whatever its template puts around it.
import test from 'ava'
import { completionsTable } from '../../lib/cli/train.js'
import type { CompletionRow } from '../../lib/index.js'

const row = (prompt: string, reward: number) =>
  ({ prompt, completion: 'c', reward, reason: 'r', source: 'on' }) as CompletionRow

const prompts = (texts: readonly string[]) =>
  completionsTable(
    texts.map((text, i) => row(text, i)),
    false,
  )
    .split('\n')
    .slice(2)
    .map(line => line.split(' | ')[0]?.trim())

test('what all prompts share at their ends is left out, where it is long', t => {
  const system = `<|im_start|>system\n${'Think well. '.repeat(30)}<|im_end|>\n<|im_start|>user\n`
  const chat = (question: string) => `${system}${question}<|im_end|>\n<|im_start|>assistant\n<think>\n`
  t.deepEqual(prompts([chat('15+7?'), chat('3+4 = ?')]), ['...3+4 = ...', '...15+7...'])
  // As short as an own task's they stay whole, and so does a prompt that is the only one.
  t.deepEqual(prompts(['5387rizp=', '0235cspip=']), ['0235cspip=', '5387rizp='])
  t.deepEqual(prompts([chat('1'), chat('1')])[0]?.slice(0, 20), '<|im_start|>system\\n')
  // A prompt that is the start and the end of another has nothing of its own: it is shown as it is.
  const long = 'a'.repeat(20)
  t.deepEqual(prompts([long, long + long])[1], long)
})
