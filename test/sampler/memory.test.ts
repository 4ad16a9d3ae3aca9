// The memory of a policy that is loaded and saved: its parameters once, and pieces.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { createPolicyConfig } from '../../lib/policy/config.js'
import { toHuggingFace } from '../../lib/policy/hugging-face-config.js'
import { parameterLayout } from '../../lib/policy/parameters.js'
import { runChild } from '../_helpers/child.js'
import { temporaryFolder } from '../policy/_files.js'

// Beside the parameters; a second copy of them would be 256 MiB, and converted weights of the file 128.
const allowedMiB = 96

test('loading and saving take the parameters once and less than 96 MiB', async t => {
  if (process.platform !== 'linux') {
    t.log('skipped: /proc is needed')
    t.pass()
    return
  }
  const root = temporaryFolder(t)
  const folder = join(root, 'model')
  const config = createPolicyConfig({ vocabSize: 65536, hiddenSize: 1024, layers: 1 })
  writeZeros(folder, config)
  const { stdout, stderr, code } = await runChild(new URL('./_memory-child.js', import.meta.url), [
    folder,
    join(root, 'saved'),
  ])
  t.is(code, 0, stderr)
  const measured = JSON.parse(stdout) as { load: number; save: number; parameters: number }
  const once = (4 * measured.parameters) / 2 ** 20
  t.true(once > 256)
  for (const what of ['load', 'save'] as const) {
    const mib = measured[what] / 1024
    t.log(`${what}: ${mib.toFixed(0)} MiB at most, parameters ${once.toFixed(0)} MiB`)
    t.true(mib > 0.9 * once, 'the parameters are there')
    t.true(mib < once + allowedMiB, `${mib} MiB`)
  }
})

// A model of zeros in bfloat16, as a file with a hole: it takes no room and no time.
function writeZeros(folder: string, config: ReturnType<typeof createPolicyConfig>): void {
  mkdirSync(folder)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(toHuggingFace(config, 'bfloat16')))
  let end = 0
  const entries = parameterLayout(config).parameters.map(({ name, shape, size }) => {
    const begin = end
    end += 2 * size
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, end] }]
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.byteLength))
  const path = join(folder, 'model.safetensors')
  writeFileSync(path, Buffer.concat([length, header]))
  truncateSync(path, 8 + header.byteLength + end)
}
