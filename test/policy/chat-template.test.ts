// Chat templates: renderings written out by hand, LUFFY's own, and templates that attack the process.
import ava from 'ava'
import { TemplateError } from '../../lib/index.js'
import { ChatTemplate } from '../../lib/policy/chat-template.js'
import { demonstrationAfter, luffySystemPrompt, luffyTemplate } from '../../lib/policy/luffy-template.js'
import { parseTemplate, renderTemplate } from '../../lib/policy/template-engine.js'
import { HuggingFaceTokenizer } from '../../lib/policy/tokenizer-hugging-face.js'
import { loadTokenizer } from '../../lib/policy/tokenizer-load.js'
import { publishedFolder } from './_tokenizers.js'

// Serial: some are timed, and there is one worker.
const test = ava.serial

const render = (template: string, content = 'hi') =>
  new ChatTemplate(template, 'x.jinja').render([{ role: 'user', content }])

test("the published templates render as their models' documents show", async t => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: ' What is 1+1? ' },
  ]
  const expected = {
    qwen3:
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n What is 1+1? <|im_end|>\n<|im_start|>assistant\n',
    llama3:
      '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>' +
      '<|start_header_id|>user<|end_header_id|>\n\nWhat is 1+1?<|eot_id|>' +
      '<|start_header_id|>assistant<|end_header_id|>\n\n',
  }
  for (const family of ['qwen3', 'llama3'] as const) {
    const tokenizer = await loadTokenizer(publishedFolder(family))
    if (!(tokenizer instanceof HuggingFaceTokenizer)) throw new Error('another kind of tokenizer')
    t.is(await tokenizer.chatTemplate?.render(messages), expected[family])
    const closed = await tokenizer.chatTemplate?.render(messages.slice(1), {
      variables: { enable_thinking: false },
      addGenerationPrompt: true,
    })
    if (family === 'qwen3') t.true(closed?.endsWith('<|im_start|>assistant\n<think>\n\n</think>\n\n'))
  }
})

test("LUFFY's template opens the thinking, with its system prompt where there is none", async t => {
  const template = new ChatTemplate(luffyTemplate, 'luffy')
  const opened = '<|im_start|>assistant\n<think>\n'
  t.is(
    await template.render([{ role: 'user', content: "{{ 1 }} 'q' \\n" }]),
    `<|im_start|>system\n${luffySystemPrompt}<|im_end|>\n<|im_start|>user\n{{ 1 }} 'q' \\n<|im_end|>\n${opened}`,
  )
  t.is(
    await template.render([
      { role: 'system', content: 'Own.' },
      { role: 'user', content: 'x' },
    ]),
    `<|im_start|>system\nOwn.<|im_end|>\n<|im_start|>user\nx<|im_end|>\n${opened}`,
  )
  t.is(
    await template.render([{ role: 'system', content: 'Own.' }], { addGenerationPrompt: false }),
    '<|im_start|>system\nOwn.<|im_end|>\n',
  )
})

test('a demonstration ends with the end token, and repeats no tag that the prompt opened', t => {
  const end = '<|im_end|>'
  const cases: [prompt: string, trace: string, expected: string][] = [
    ['a\n<think>\n', '<think>\nWell.\n</think>\n4', 'Well.\n</think>\n4<|im_end|>'],
    ['a\n<think>\n', 'Well.\n</think>\n4', 'Well.\n</think>\n4<|im_end|>'],
    ['a\n<think>', '<think>\nWell.', '\nWell.<|im_end|>'],
    ['a\n<think>\n', '<think>Well.', 'Well.<|im_end|>'],
    ['a\n', '<think>\nWell.', '<think>\nWell.<|im_end|>'],
    ['a <think> b\n', '<think>\nWell.', '<think>\nWell.<|im_end|>'],
    ['a\n<think>\n', '<think>\nWell.<|im_end|>', 'Well.<|im_end|>'],
    ['a\n<think>\n', '<think>\n<think>\nWell.', '<think>\nWell.<|im_end|>'],
  ]
  for (const [prompt, trace, expected] of cases) t.is(demonstrationAfter(prompt, trace, end), expected)
})

const attacks: readonly [name: string, template: string, message: RegExp][] = [
  [
    'loops in loops',
    '{% for i in range(1000) %}{% for j in range(1000) %}x{% endfor %}{% endfor %}',
    /step limit 100000|takes longer/,
  ],
  ['a long range', '{{ range(100000000) | length }}', /range limit of 100000 numbers/],
  ['a range of nothing', '{{ range(none) }}', /range\(\) of something other/],
  [
    'text that doubles',
    "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    /output limit|memory|string length|crash/i,
  ],
  [
    'a long output',
    '{% for i in range(50000) %}{{ messages[0].content }}{% endfor %}',
    /output limit|takes longer/,
  ],
  [
    'a list that doubles',
    '{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}',
    /memory|takes longer|Invalid array length/,
  ],
  ['recursion', '{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}', /call stack|step limit/i],
  ['nesting', `{{ ${'('.repeat(50_000)}1${')'.repeat(50_000)} }}`, /call stack/i],
  ['nested ifs', `${'{% if true %}'.repeat(20_000)}x${'{% endif %}'.repeat(20_000)}`, /call stack/i],
  ['an error of its own', "{{ raise_exception('no system role') }}", /the template raised: no system role/],
  ['no Jinja', '{% for %}', /x\.jinja: chat template: /],
  ['the clock', '{{ strftime_now("%Y") }}', /x\.jinja: chat template: /],
]

for (const [name, template, message] of attacks) {
  test(`an attack ends with a TemplateError: ${name}`, async t => {
    const begun = performance.now()
    const error = await t.throwsAsync(render(template, 'y'.repeat(200)), {
      instanceOf: TemplateError,
      message,
    })
    t.is(error?.exitCode, 3)
    t.true(performance.now() - begun < 10_000)
  })
}

test('steps, ranges and output are counted, without a clock', t => {
  const run = (template: string) => renderTemplate(parseTemplate(template), {})
  const loop = (n: number) => `{% for i in range(${n}) %}x{% endfor %}`
  // The template itself is one block, too.
  t.is(run(loop(99_999)).length, 99_999)
  t.throws(() => run(loop(100_000)), { message: /step limit 100000/ })
  t.throws(() => run('{{ range(100001) }}'), { message: /range limit/ })
  t.is(run('{{ range(7, 1, -2) | join(",") }}{{ range(2, 4) | join }}{{ range(0) | length }}'), '7,5,3230')
  t.throws(() => run(`{% for i in range(50000) %}${'y'.repeat(100)}{% endfor %}`), {
    message: /output limit/,
  })
})

test('a template cannot reach the program, and prototypes stay clean', async t => {
  for (const template of [
    '{{ messages.constructor }}',
    '{{ messages.__proto__ }}',
    "{{ ''.constructor.constructor }}",
    '{% set messages.__proto__ = 1 %}',
    "{{ range.constructor('return process')() }}",
  ]) {
    const text = await render(template).catch(error => {
      t.true(error instanceof TemplateError, String(error))
      return ''
    })
    t.notRegex(text, /function|native|process|\[object/)
  }
  t.is(({} as Record<string, unknown>).polluted, undefined)
})

test('the watchdog ends what no count can see, and the next rendering is right', async t => {
  // Few blocks, each of which searches a long text.
  const slow =
    "{% set ns = namespace(x='a') %}{% for i in range(21) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}" +
    "{% for i in range(90000) %}{% set y = 'b' in ns.x %}{% endfor %}"
  const begun = performance.now()
  const error = await t.throwsAsync(render(slow), { instanceOf: TemplateError })
  t.regex(error?.message ?? '', /takes longer than 2 s/)
  t.true(performance.now() - begun < 20_000)
  t.is(await render('{{ messages[0].content }}!'), 'hi!')
})

test('conversations are rendered in order, and the one that fails is named', async t => {
  const template = new ChatTemplate(
    "{% if messages[0].content == 'bad' %}{{ raise_exception('bad one') }}{% endif %}{{ messages[0].content }}",
    'x.jinja',
  )
  const conversation = (content: string) => [{ role: 'user', content }]
  const many = Array.from({ length: 600 }, (_, i) => conversation(String(i)))
  t.deepEqual(
    await template.renderAll(many),
    many.map((_, i) => String(i)),
  )
  many[300] = conversation('bad')
  const error = await t.throwsAsync(template.renderAll(many), { instanceOf: TemplateError })
  t.regex(error?.message ?? '', /bad one \(conversation 300\)/)
  t.is(error?.details?.conversation, 300)
})
