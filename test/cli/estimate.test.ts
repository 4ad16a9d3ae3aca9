// `luffy estimate`: a table and whether the run fits, from config.json alone.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import ava from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { luffy } from './_luffy.js'

const test = ava.serial

test("the paper's recipe on a folder without weights, and a policy that fits", async t => {
  const folder = await temporaryFolder(t)
  const model = (hidden: number, layers: number, heads: number) => ({
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    vocab_size: 152064,
    hidden_size: hidden,
    intermediate_size: hidden * 4,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: 4,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    tie_word_embeddings: false,
    torch_dtype: 'bfloat16',
    eos_token_id: 151643,
  })
  for (const [name, hidden, layers, heads] of [
    ['huge', 28672, 200, 224],
    ['small', 128, 1, 4],
  ] as const) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'config.json'), JSON.stringify(model(hidden, layers, heads)))
  }
  const recipe = join(packageRoot, 'examples/luffy-qwen2.5-math-7b.yaml')
  const huge = await luffy(['estimate', recipe, '--set', `model=${join(folder, 'huge')}`])
  t.is(huge.code, 6, huge.stderr)
  t.regex(huge.stdout, /^parameters +\| +[\d.]+ GiB \| always +\| float32$/m)
  t.regex(huge.stdout, /^key\/value cache +\| .* \| sampling \| \d+ sequences of 9216 tokens$/m)
  t.regex(huge.stdout, /does not fit into the [\d.]+ (?:GiB|MiB) that are free/)
  const small = await luffy([
    ...['estimate', recipe, '--json', '--set', `model=${join(folder, 'small')}`],
    ...['--set', 'maxCompletionLength=64', '--set', 'promptsPerStep=2', '--set', 'promptsPerUpdate=1'],
  ])
  const report = JSON.parse(small.stdout)
  t.is(small.code, report.fits ? 0 : 6, small.stderr)
  t.true(report.fits === report.peakBytes <= report.freeBytes)
  t.true(report.fits, `${report.peakBytes} of ${report.freeBytes}`)
})
