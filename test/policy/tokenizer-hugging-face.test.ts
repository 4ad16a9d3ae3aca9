// The published tokenizers of Qwen 3 and Llama 3: ids that their publishers' tests and documents give, ids of an
// independent byte-level BPE, round trips, and what a bad file is refused with.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { CharacterTokenizer, TemplateError, TokenizerError } from '../../lib/index.js'
import { HuggingFaceTokenizer } from '../../lib/policy/tokenizer-hugging-face.js'
import { checkTokenizerFits, loadTokenizer } from '../../lib/policy/tokenizer-load.js'
import { CounterRandom } from '../../lib/random.js'
import { temporaryFolder } from '../_helpers/folders.js'
import { families, publishedFolder, referenceBpe, writeSmallTokenizer } from './_tokenizers.js'

async function load(folder: string): Promise<HuggingFaceTokenizer> {
  const tokenizer = await loadTokenizer(folder)
  if (!(tokenizer instanceof HuggingFaceTokenizer)) throw new Error(`${folder}: another kind of tokenizer`)
  return tokenizer
}

// Once for all tests: they are large.
const loaded = new Map<string, Promise<HuggingFaceTokenizer>>()
function get(family: (typeof families)[number]): Promise<HuggingFaceTokenizer> {
  if (!loaded.has(family)) loaded.set(family, load(publishedFolder(family)))
  return loaded.get(family) as Promise<HuggingFaceTokenizer>
}

// test_tokenization_qwen2.py of transformers (the vocabulary is that of Qwen 3); the usage of llama3-tokenizer-js.
const known: Readonly<Record<string, readonly [text: string, ids: readonly number[]][]>> = {
  qwen3: [
    [
      'Transformers (formerly known as pytorch-transformers and pytorch-pretrained-bert) provides general-purpose ' +
        'architectures (BERT, GPT-2, RoBERTa, XLM, DistilBert, XLNet...) for Natural Language Understanding (NLU) and ' +
        'Natural Language Generation (NLG) with over 32+ pretrained models in 100+ languages and deep interoperability ' +
        'between Jax, PyTorch and TensorFlow.',
      // biome-ignore format: a list of ids
      [8963, 388, 320, 69514, 3881, 438, 4510, 27414, 32852, 388, 323, 4510, 27414, 21334, 35722, 1455, 529, 8, 5707,
        4586, 58238, 77235, 320, 61437, 11, 479, 2828, 12, 17, 11, 11830, 61437, 64, 11, 1599, 10994, 11, 27604, 321,
        33, 529, 11, 29881, 6954, 32574, 369, 18448, 11434, 45451, 320, 45, 23236, 8, 323, 18448, 11434, 23470, 320,
        30042, 38, 8, 448, 916, 220, 18, 17, 10, 80669, 4119, 304, 220, 16, 15, 15, 10, 15459, 323, 5538, 94130, 2897,
        1948, 619, 706, 11, 5355, 51, 21584, 323, 94986, 13],
    ],
    [
      '🤗 Transformers 提供了可以轻松地下载并且训练先进的预训练模型的 API 和工具。使用预训练模型可以减少计算消耗和碳排放，' +
        '并且节省从头训练所需要的时间和资源。',
      // biome-ignore format: a list of ids
      [144834, 80532, 93685, 83744, 34187, 73670, 104261, 29490, 62189, 103937, 104034, 102830, 98841, 104034, 104949,
        9370, 5333, 58143, 102011, 1773, 37029, 98841, 104034, 104949, 73670, 101940, 100768, 104997, 33108, 100912,
        105054, 90395, 100136, 106831, 45181, 64355, 104034, 113521, 101975, 33108, 85329, 1773],
    ],
    ['<|im_start|>Hello, world!<|im_end|>\n', [151644, 9707, 11, 1879, 0, 151645, 198]],
  ],
  llama3: [
    ['Hello world!', [9906, 1917, 0]],
    ['<|begin_of_text|>Hello world!<|end_of_text|>', [128000, 9906, 1917, 0, 128001]],
    ['[1]Hello world!', [58, 16, 60, 9906, 1917, 0]],
  ],
}

for (const family of families) {
  test(`${family}: ids that are known, and back`, async t => {
    const tokenizer = await get(family)
    for (const [text, ids] of known[family] ?? []) {
      t.deepEqual([...tokenizer.encode(text)], [...ids])
      t.is(tokenizer.decode(ids), text)
    }
  })

  test(`${family}: the ids of an independent BPE, round trips and streams, for hard strings`, async t => {
    const tokenizer = await get(family)
    const reference = referenceBpe(family)
    const texts = [...hardStrings, ...Array.from({ length: 300 }, (_, i) => randomText(i))]
    for (const text of texts) {
      const ids = tokenizer.encode(text)
      t.deepEqual([...ids], reference(text), JSON.stringify(text))
      const expected = family === 'qwen3' ? text.normalize('NFC') : text
      t.is(tokenizer.decode(ids), Buffer.from(expected).toString(), JSON.stringify(text))
      checkStream(t, tokenizer, ids)
    }
  })

  test(`${family}: random ids decode like their bytes, whole and streamed`, async t => {
    const tokenizer = await get(family)
    const random = new CounterRandom(1, 'ids')
    for (let i = 0; i < 200; i++) {
      checkStream(
        t,
        tokenizer,
        Int32Array.from({ length: 40 }, () => random.integer(tokenizer.vocabSize)),
      )
    }
  })
}

const hardStrings = [
  '',
  ' ',
  '\ufeffbyte order mark',
  'line\r\nfeeds\r\n\r\n  \n\t\n  x   ',
  "I'M don't WE'LL they'Ve 'S 's",
  '0 12 345 6789 1234567890 ½ ²³ ٣٤',
  'e\u0301 é Å Å ﬁ 한국어 각',
  '👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 \u{1f1e9}\u{1f1ea}',
  'مرحبا بالعالم ﷽ עברית',
  '\\frac{\\pi}{2} \\left( 3, \\frac{\\pi}{2} \\right) $\\boxed{42}$',
  'lone \ud800 surrogate',
  '<|im_end|><|eot_id|><think>\n\n</think>\n<|endoftext|><|begin_of_text|>',
  '<|im_end|', // a token cut short is text
  '\u0000\u0001\u007f\u0085\u00a0\u2028',
  'a'.repeat(500),
  ' '.repeat(300),
  '=*'.repeat(150),
]

// Characters of many kinds, more spaces and letters than others.
function randomText(seed: number): string {
  const random = new CounterRandom(7, 'texts', seed)
  const ranges = [
    [0x20, 0x7e],
    [0x61, 0x7a],
    [0x09, 0x0d],
    [0x20, 0x20],
    [0x30, 0x39],
    [0xa0, 0x24f],
    [0x300, 0x36f],
    [0x4e00, 0x4f00],
    [0x1f600, 0x1f64f],
    [0x10ffff, 0x10ffff],
  ] as const
  return Array.from({ length: 1 + random.integer(40) }, () => {
    const [low, high] = random.pick(ranges)
    return String.fromCodePoint(random.between(low, high))
  }).join('')
}

function checkStream(t: ExecutionContext, tokenizer: HuggingFaceTokenizer, ids: Int32Array): void {
  const stream = tokenizer.stream()
  const bytes = Buffer.concat([...ids].map(id => tokenizer.tokenBytes(id)))
  let seen = ''
  let at = 0
  for (const id of ids) {
    seen += stream.push(id)
    at += tokenizer.tokenBytes(id).length
    const complete = bytes.toString('utf8', 0, at)
    // What was given out stays: it is a beginning of the text of the bytes so far, at most one character behind.
    t.true(complete.startsWith(seen), `${JSON.stringify(seen)} of ${JSON.stringify(complete)}`)
    t.true(complete.length - seen.length <= 3)
  }
  seen += stream.end()
  t.is(seen, tokenizer.decode(ids))
  t.is(seen, bytes.toString('utf8'))
}

test('a character of several tokens comes once, when it is complete', async t => {
  const tokenizer = await get('llama3')
  const ids = tokenizer.encode('﷽') // three tokens of one byte
  t.is(ids.length, 3)
  const stream = tokenizer.stream()
  t.deepEqual([...[...ids].map(id => stream.push(id)), stream.end()], ['', '', '﷽', ''])
  const cut = tokenizer.stream()
  cut.push(ids[0] as number)
  t.is(cut.end(), '\ufffd')
})

test('end tokens: of the tokenizer, and several of generation_config.json', async t => {
  const folder = await temporaryFolder(t)
  await writeSmallTokenizer(folder)
  const alone = await load(folder)
  t.is(alone.decode([alone.endId]), '<|im_end|>')
  t.deepEqual(alone.endIds, [alone.endId])
  const generation = join(folder, 'generation_config.json')
  await writeFile(generation, JSON.stringify({ eos_token_id: [alone.endId, alone.endId - 2] }))
  const several = await load(folder)
  t.deepEqual(several.endIds, [several.endId, several.endId - 2])
  await writeFile(generation, JSON.stringify({ eos_token_id: 99999 }))
  await t.throwsAsync(load(folder), {
    instanceOf: TokenizerError,
    message: /eos_token_id: expected ids from 0/,
  })
})

test('what a tokenizer puts before a text comes where it is asked for', async t => {
  const folder = await temporaryFolder(t)
  await writeSmallTokenizer(folder)
  const path = join(folder, 'tokenizer.json')
  const single = [{ SpecialToken: { id: '<|im_start|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }]
  const template = { type: 'TemplateProcessing', single, pair: single, special_tokens: {} }
  await writeFile(
    path,
    JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), post_processor: template }),
  )
  const tokenizer = await load(folder)
  t.is(tokenizer.decode(tokenizer.encode('Hello')), 'Hello')
  t.is(tokenizer.decode(tokenizer.encode('Hello', { begin: true })), '<|im_start|>Hello')
})

test('ids beyond the tokenizer have no text, wrong ones are named', async t => {
  const tokenizer = await get('qwen3')
  t.is(tokenizer.decode([9707, 151_900, 0]), 'Hello!')
  t.is(tokenizer.decode([]), '')
  t.throws(() => tokenizer.decode([1, -1]), {
    instanceOf: RangeError,
    message: /^ids\[1\]: expected .* got -1/,
  })
  t.throws(() => tokenizer.decode([1.5]), { instanceOf: RangeError })
})

test('a tokenizer larger than the embeddings is refused, naming the id', async t => {
  const tokenizer = await get('qwen3')
  checkTokenizerFits(tokenizer, 151_669, 'x')
  const error = t.throws(() => checkTokenizerFits(tokenizer, 151_646, 'x'), { instanceOf: TokenizerError })
  t.regex(error?.message ?? '', /id 151668 \("<\/think>"\) is beyond the policy's 151646 embedding rows/)
})

test('saving carries every file, and another template with them', async t => {
  const [from, to] = [await temporaryFolder(t), await temporaryFolder(t)]
  await writeSmallTokenizer(from, { chat_template: '{{ messages[0].content }}' })
  await writeFile(join(from, 'merges.txt'), '#version: 0.2\n')
  const tokenizer = await load(from)
  await tokenizer.save(to)
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'merges.txt']) {
    t.deepEqual(await readFile(join(to, name)), await readFile(join(from, name)), name)
  }
  const changed = tokenizer.withTemplate('new: {{ messages[0].content }}')
  await changed.save(to)
  const again = await load(to)
  t.is(await again.chatTemplate?.render([{ role: 'user', content: 'x' }]), 'new: x')
  t.deepEqual(again.encode('Hello'), tokenizer.encode('Hello'))
})

test('a folder with a tokenizer of single characters gives that', async t => {
  const folder = await temporaryFolder(t)
  await new CharacterTokenizer('ab$', '$').save(folder)
  const tokenizer = await loadTokenizer(folder)
  t.true(tokenizer instanceof CharacterTokenizer)
  t.deepEqual(tokenizer.endIds, [2])
})

// Serial: it is timed.
test.serial('bad files are refused, each by name', async t => {
  const folder = await temporaryFolder(t)
  await writeSmallTokenizer(folder)
  const path = join(folder, 'tokenizer.json')
  const good = JSON.parse(await readFile(path, 'utf8'))
  const deep = { normalizer: 1 as unknown }
  for (let i = 0; i < 1000; i++) deep.normalizer = { type: 'Sequence', normalizers: [deep.normalizer] }
  const changes: [change: object | string, message: RegExp][] = [
    ['{', /tokenizer\.json: .*JSON/],
    [
      'version https://git-lfs.github.com/spec/v1\noid sha256:1\n',
      /56 bytes, is a Git LFS pointer; run git lfs pull/,
    ],
    ['[]', /content: expected an object, got an array of 0/],
    ['['.repeat(1e6), /tokenizer\.json/],
    [{ model: { ...good.model, type: 'Unigram' } }, /model\.type: expected "BPE", got "Unigram"/],
    [{ model: { ...good.model, vocab: { ...good.model.vocab, x1: 0 } } }, /id 0 of "x1" is taken/],
    [
      { model: { ...good.model, vocab: { ...good.model.vocab, x1: 4e9 } } },
      /id 4000000000 .* is not an integer/,
    ],
    [{ model: { ...good.model, vocab: { a: 0 } } }, /expected a token for each byte, got none for 0x/],
    [{ model: { ...good.model, merges: [['a']] } }, /model\.merges: entry 0: expected two tokens/],
    [{ added_tokens: [{ id: -1, content: 'x' }] }, /added_tokens\[0\]: expected an id/],
    [{ decoder: { type: 'Metaspace' } }, /decoder: type "Metaspace" is not supported/],
    [{ decoder: null }, /decoder: expected type "ByteLevel", got none/],
    [
      { pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false } },
      /pre_tokenizer\.pattern: pattern "\(a\+\)\+\$" is not in the supported set/,
    ],
    [deep, /is nested too deeply/],
  ]
  for (const [change, message] of changes) {
    const text = typeof change === 'string' ? change : JSON.stringify({ ...good, ...change })
    await writeFile(path, text)
    const begun = performance.now()
    await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message }, String(message))
    const spent = performance.now() - begun
    t.true(spent < 10_000, `${message}: ${spent} ms`)
  }
  await writeFile(path, JSON.stringify(good))
  const config = join(folder, 'tokenizer_config.json')
  await writeFile(config, JSON.stringify({ eos_token: '<none>' }))
  await t.throwsAsync(loadTokenizer(folder), {
    instanceOf: TokenizerError,
    message: /eos_token "<none>" is not in/,
  })
  await writeFile(config, '{}')
  await t.throwsAsync(loadTokenizer(folder), { instanceOf: TokenizerError, message: /names an end token/ })
  await writeFile(config, JSON.stringify({ eos_token: '<|im_end|>', chat_template: 'x'.repeat(2e6) }))
  await t.throwsAsync(loadTokenizer(folder), { instanceOf: TemplateError, message: /2000000 characters/ })
  await t.throwsAsync(loadTokenizer(join(folder, 'none')), {
    instanceOf: TokenizerError,
    message: /no such folder/,
  })
})
