import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { CharacterTokenizer } from '../../lib/policy/tokenizer-simple.js'

async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'luffy-tokenizer-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

test('a character is a token; text goes there and back', t => {
  const tokenizer = new CharacterTokenizer('$ab🙂\n', '$')
  t.is(tokenizer.vocabSize, 5)
  t.is(tokenizer.endId, 0)
  t.deepEqual([...tokenizer.encode('ba🙂\n$')], [2, 1, 3, 4, 0])
  t.is(tokenizer.decode(Int32Array.of(2, 1, 3, 4, 0)), 'ba🙂\n$')
  t.is(tokenizer.encode('').length, 0)
  t.is(tokenizer.decode([]), '')
})

test('an unknown character is named with its position', t => {
  const tokenizer = new CharacterTokenizer('$ab🙂', '$')
  const error = t.throws(() => tokenizer.encode('a🙂X'))
  t.is(error?.name, 'TokenizerError')
  t.regex(error?.message ?? '', /character "X" at position 2 has no token/)
  t.throws(() => tokenizer.encode('a\ud83d'), { message: /position 1/ })
})

test('an id that is out of range is named with its position', t => {
  const tokenizer = new CharacterTokenizer('$ab', '$')
  t.throws(() => tokenizer.decode([1, 3]), {
    instanceOf: RangeError,
    message: 'ids[1]: expected an integer from 0 to 2, got 3',
  })
  t.throws(() => tokenizer.decode([-1]), { instanceOf: RangeError, message: /^ids\[0\]/ })
  t.throws(() => tokenizer.decode([0.5]), { instanceOf: RangeError })
})

test('vocabularies that cannot be are refused', t => {
  for (const [characters, end, message] of [
    ['aab', 'a', /"a" stands twice/],
    [['a', 'bc'], 'a', /single characters, got "bc"/],
    [['a', ''], 'a', /single characters/],
    [['a', '\ud83d'], 'a', /single characters/],
    ['ab', '$', /"\$" is not in the vocabulary/],
  ] as const) {
    t.is(t.throws(() => new CharacterTokenizer(characters, end), { message })?.name, 'TokenizerError')
  }
})

test('the saved file is the Hugging Face format, word for word', async t => {
  const folder = await temporaryFolder(t)
  await new CharacterTokenizer('$ab', '$').save(folder)
  // Checked by hand against the readers of Hugging Face (tokenizers 0.23, both in Rust and in JavaScript).
  t.deepEqual(JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')), {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: 0,
        content: '$',
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: { type: 'WordLevel', vocab: { $: 0, a: 1, b: 2 }, unk_token: '<unk>' },
  })
  const config = JSON.parse(await readFile(join(folder, 'tokenizer_config.json'), 'utf8'))
  t.is(config.eos_token, '$')
  t.is(config.clean_up_tokenization_spaces, false)
})

test('a saved tokenizer loads as it was, digits and prototype names included', async t => {
  const folder = await temporaryFolder(t)
  // Digits: an object lists integer keys first, whatever their ids.
  const tokenizer = new CharacterTokenizer('z9081_ $🙂', '$')
  await tokenizer.save(folder)
  const loaded = await CharacterTokenizer.load(folder)
  t.deepEqual(loaded.characters, tokenizer.characters)
  t.is(loaded.endId, tokenizer.endId)
})

test('anything else than what is written is refused, and named', async t => {
  const original = new CharacterTokenizer('$ab', '$').toJson()
  // biome-ignore lint/suspicious/noExplicitAny: each change breaks the content in a way its type forbids
  const changes: [(content: any) => void, RegExp][] = [
    [content => delete content.decoder, /decoder: missing/],
    [content => (content.extra = 1), /extra: not expected/],
    [content => (content.version = '2.0'), /version: expected "1.0", got "2.0"/],
    [content => (content.normalizer = { type: 'NFC' }), /normalizer: expected null/],
    [content => (content.pre_tokenizer.pattern.Regex = '.'), /pre_tokenizer\.pattern\.Regex: expected/],
    [content => (content.model.type = 'BPE'), /model\.type: expected "WordLevel", got "BPE"/],
    [content => (content.model.vocab.b = 1), /id 1 of "b" is out of range or taken/],
    [content => (content.model.vocab.b = 3), /id 3 of "b"/],
    [content => (content.model.vocab.b = '2'), /id "2" of "b"/],
    [content => (content.model.vocab.cd = 3), /single characters, got "cd"/],
    [content => (content.added_tokens[0].id = 1), /added_tokens\.0\.id: expected 0, got 1/],
    [content => (content.added_tokens[0].content = 'x'), /"x" is not in the vocabulary/],
    [content => content.added_tokens.push(content.added_tokens[0]), /added_tokens\.1: not expected/],
    [content => (content.added_tokens = []), /not a character tokenizer/],
    [content => (content.model = null), /not a character tokenizer/],
  ]
  for (const [change, message] of changes) {
    const content = structuredClone(original)
    change(content)
    t.is(t.throws(() => CharacterTokenizer.fromJson(content), { message })?.name, 'TokenizerError')
  }
  t.is(t.throws(() => CharacterTokenizer.fromJson('text'))?.name, 'TokenizerError')
  const folder = await temporaryFolder(t)
  const missing = await t.throwsAsync(CharacterTokenizer.load(folder))
  t.is(missing?.name, 'TokenizerError')
  await writeFile(join(folder, 'tokenizer.json'), '{"version":')
  const torn = await t.throwsAsync(CharacterTokenizer.load(folder))
  t.is(torn?.name, 'TokenizerError')
  t.true(torn?.message.includes(join(folder, 'tokenizer.json')))
})
