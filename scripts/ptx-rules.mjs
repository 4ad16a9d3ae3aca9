// The instructions that scripts/ptx-to-cpp.mjs knows: [full form, (kernel, operands, match) => C++].
import {
  atomicRule,
  binary,
  compare,
  cTypes,
  hints,
  input,
  ints,
  ldmatrixRule,
  limits,
  loadRule,
  memoryType,
  mmaRule,
  output,
  place,
  raw,
  roundings,
  rule,
  shiftAmount,
  shuffles,
  spaces,
  storeRule,
  unary,
  vector,
  wider,
  wrap,
} from './ptx-operands.mjs'

export const instructionRules = [
  // Control.
  rule('bra(?:\\.uni)?', (_k, [label]) => `goto v_${label.replace(/[^\w]/g, '_')};`),
  rule('ret|exit', () => 'return;'),
  rule(
    'trap',
    k => `emulator::kernel_error("trap at %s:%d", emulator::short_name(${k.site}), ${k.site}.line);`,
  ),
  rule('griddepcontrol\\.(?:wait|launch_dependents)', () => ''),

  // Moves and selection.
  rule('mov\\.(?:[usb](?:16|32|64)|f32|f64|pred)', (k, [d, a]) => {
    const targets = vector(d)
    const sources = vector(a)
    if (targets.length === 2)
      return `const uint64_t both = ${k.value(a)}; const int half = sizeof(${k.value(a)}) * 4; ${targets
        .map((t, i) => (t === '_' ? '' : `${k.value(t)} = (uint64_t)(both >> (${i} * half));`))
        .join(' ')}`
    if (sources.length === 2)
      return `const int half = sizeof(${k.value(d)}) * 4; const uint64_t low = ((uint64_t)(${k.value(sources[0])})) & ((UINT64_C(1) << half) - 1); ${k.value(d)} = low | ((uint64_t)(${k.value(sources[1])}) << half);`
    return `${k.value(d)} = ${k.value(a)};`
  }),
  rule(
    'selp\\.(?:[usb](?:16|32|64)|f32|f64)',
    (k, [d, a, b, p]) =>
      `if (${k.value(p)}) ${k.value(d)} = ${k.value(a)}; else ${k.value(d)} = ${k.value(b)};`,
  ),
  rule('setp\\.([a-z]+)\\.((?:[usb](?:16|32|64))|f32|f64)', (k, [d, a, b], m) => {
    const [first, second] = d.split('|')
    const code = `const bool c = ${compare(k, m[1], m[2], a, b)}; ${k.value(first)} = c;`
    return second ? `${code} ${k.value(second)} = !c;` : code
  }),
  rule('setp\\.([a-z]+)\\.(and|or|xor)\\.((?:[usb](?:16|32|64))|f32|f64)', (k, [d, a, b, c], m) => {
    const operator = { and: '&&', or: '||', xor: '!=' }[m[2]]
    return `${k.value(d)} = ${compare(k, m[1], m[3], a, b)} ${operator} ${k.value(c)};`
  }),

  // Integers.
  rule(`add\\.(${ints})`, wrap('+')),
  rule(`sub\\.(${ints})`, wrap('-')),
  rule(`mul\\.lo\\.(${ints})`, (k, [d, a, b], m) =>
    output(k, m[1], d, `(${raw(m[1])})((uint64_t)${input(k, m[1], a)} * (uint64_t)${input(k, m[1], b)})`),
  ),
  rule(`mad\\.lo\\.(${ints})`, (k, [d, a, b, c], m) =>
    output(
      k,
      m[1],
      d,
      `(${raw(m[1])})((uint64_t)${input(k, m[1], a)} * (uint64_t)${input(k, m[1], b)} + (uint64_t)${input(k, m[1], c)})`,
    ),
  ),
  rule('mul\\.hi\\.([us]32)', (k, [d, a, b], m) =>
    output(k, m[1], d, `((${cTypes[wider[m[1]]]})${input(k, m[1], a)} * ${input(k, m[1], b)}) >> 32`),
  ),
  rule('mul\\.hi\\.([us])64', (k, [d, a, b], m) => {
    const wide = m[1] === 'u' ? 'unsigned __int128' : '__int128'
    const type = `${m[1]}64`
    return output(k, type, d, `((${wide})${input(k, type, a)} * ${input(k, type, b)}) >> 64`)
  }),
  rule('mul\\.wide\\.([us](?:16|32))', (k, [d, a, b], m) => {
    const type = wider[m[1]]
    return output(k, type, d, `(${cTypes[type]})${input(k, m[1], a)} * (${cTypes[type]})${input(k, m[1], b)}`)
  }),
  rule('mad\\.wide\\.([us](?:16|32))', (k, [d, a, b, c], m) => {
    const type = wider[m[1]]
    const product = `(${cTypes[type]})${input(k, m[1], a)} * (${cTypes[type]})${input(k, m[1], b)}`
    return output(k, type, d, `(${raw(type)})(${product}) + (${raw(type)})${input(k, type, c)}`)
  }),
  rule(
    `div\\.(${ints})`,
    binary((a, b) => `${b} == 0 ? -1 : ${a} / ${b}`),
  ),
  rule(
    `rem\\.(${ints})`,
    binary((a, b) => `${b} == 0 ? ${a} : ${a} % ${b}`),
  ),
  rule(
    `min\\.(${ints}|f64)`,
    binary((a, b, t) => (t === 'f64' ? `std::fmin(${a}, ${b})` : `${a} < ${b} ? ${a} : ${b}`)),
  ),
  rule(
    `max\\.(${ints}|f64)`,
    binary((a, b, t) => (t === 'f64' ? `std::fmax(${a}, ${b})` : `${a} > ${b} ? ${a} : ${b}`)),
  ),
  rule('neg\\.(s16|s32|s64)', (k, [d, a], m) =>
    output(k, m[1], d, `(${raw(m[1])})0 - (${raw(m[1])})${input(k, m[1], a)}`),
  ),
  rule('abs\\.(s16|s32|s64)', (k, [d, a], m) =>
    output(
      k,
      m[1],
      d,
      `${input(k, m[1], a)} < 0 ? (${raw(m[1])})0 - (${raw(m[1])})${input(k, m[1], a)} : ${input(k, m[1], a)}`,
    ),
  ),
  rule(
    'and\\.(b16|b32|b64|pred)',
    binary((a, b) => `${a} & ${b}`),
  ),
  rule(
    'or\\.(b16|b32|b64|pred)',
    binary((a, b) => `${a} | ${b}`),
  ),
  rule(
    'xor\\.(b16|b32|b64|pred)',
    binary((a, b) => `${a} ^ ${b}`),
  ),
  rule(
    'not\\.(b16|b32|b64)',
    unary(a => `~${a}`),
  ),
  rule(
    'not\\.(pred)',
    unary(a => `!${a}`),
  ),
  rule('shl\\.(b16|b32|b64)', (k, [d, a, b], m) =>
    output(k, m[1], d, `shift_left<${raw(m[1])}>(${input(k, m[1], a)}, ${shiftAmount(k, b)})`),
  ),
  rule('shr\\.([usb](?:16|32|64))', (k, [d, a, b], m) =>
    output(k, m[1], d, `shift_right<${cTypes[m[1]]}>(${input(k, m[1], a)}, ${shiftAmount(k, b)})`),
  ),
  rule('shf\\.(l|r)\\.wrap\\.b32', (k, [d, a, b, c], m) => {
    const both = `((uint64_t)${input(k, 'b32', b)} << 32 | ${input(k, 'b32', a)})`
    const by = `((uint32_t)(${k.value(c)}) & 31)`
    return output(k, 'b32', d, m[1] === 'l' ? `(${both} << ${by}) >> 32` : `${both} >> ${by}`)
  }),
  rule('prmt\\.b32', (k, [d, a, b, c]) =>
    output(k, 'b32', d, `permute_bytes(${input(k, 'b32', a)}, ${input(k, 'b32', b)}, ${input(k, 'b32', c)})`),
  ),
  rule('lop3\\.b32', (k, [d, a, b, c, table]) =>
    output(
      k,
      'b32',
      d,
      `logic3(${input(k, 'b32', a)}, ${input(k, 'b32', b)}, ${input(k, 'b32', c)}, ${table})`,
    ),
  ),
  rule('popc\\.b32', (k, [d, a]) => output(k, 'b32', d, `__builtin_popcount(${input(k, 'b32', a)})`)),
  rule('clz\\.b32', (k, [d, a]) =>
    output(k, 'b32', d, `${input(k, 'b32', a)} == 0 ? 32 : __builtin_clz(${input(k, 'b32', a)})`),
  ),
  rule('brev\\.b32', (k, [d, a]) => output(k, 'b32', d, `reverse_bits(${input(k, 'b32', a)})`)),
  rule('bfind\\.shiftamt\\.u32', (k, [d, a]) =>
    output(k, 'b32', d, `${input(k, 'b32', a)} == 0 ? -1 : __builtin_clz(${input(k, 'b32', a)})`),
  ),
  rule('bfi\\.(b32|b64)', (k, [d, a, b, at, count], m) =>
    output(
      k,
      m[1],
      d,
      `insert_bits<${raw(m[1])}>(${input(k, m[1], a)}, ${input(k, m[1], b)}, ${shiftAmount(k, at)} & 255, ${shiftAmount(k, count)} & 255)`,
    ),
  ),
  rule('bfe\\.u32', (k, [d, a, b, c]) =>
    output(
      k,
      'u32',
      d,
      `shift_right<uint32_t>(${input(k, 'u32', a)}, ${shiftAmount(k, b)} & 255) & ~shift_left<uint32_t>(~0u, ${shiftAmount(k, c)} & 255)`,
    ),
  ),

  // Floats. `.rn` is what plain arithmetic does; approximations are computed exactly.
  rule(
    'add(?:\\.rn)?\\.(f32|f64)',
    binary((a, b) => `${a} + ${b}`),
  ),
  rule(
    'sub(?:\\.rn)?\\.(f32|f64)',
    binary((a, b) => `${a} - ${b}`),
  ),
  rule(
    'mul(?:\\.rn)?\\.(f32|f64)',
    binary((a, b) => `${a} * ${b}`),
  ),
  rule(
    'div(?:\\.rn|\\.full|\\.approx)\\.(f32)',
    binary((a, b) => `${a} / ${b}`),
  ),
  rule(
    'div\\.rn\\.(f64)',
    binary((a, b) => `${a} / ${b}`),
  ),
  rule('fma\\.rn\\.(f32|f64)', (k, [d, a, b, c], m) =>
    output(k, m[1], d, `std::fma(${input(k, m[1], a)}, ${input(k, m[1], b)}, ${input(k, m[1], c)})`),
  ),
  rule('fma\\.rm\\.f32', (k, [d, a, b, c]) =>
    output(k, 'f32', d, `fma_down(${input(k, 'f32', a)}, ${input(k, 'f32', b)}, ${input(k, 'f32', c)})`),
  ),
  rule(
    'min\\.(f32)',
    binary((a, b) => `std::fmin(${a}, ${b})`),
  ),
  rule(
    'max\\.(f32)',
    binary((a, b) => `std::fmax(${a}, ${b})`),
  ),
  rule(
    'neg\\.(f32|f64)',
    unary(a => `-${a}`),
  ),
  rule(
    'abs\\.(f32|f64)',
    unary(a => `std::fabs(${a})`),
  ),
  rule(
    'copysign\\.(f32|f64)',
    binary((a, b) => `std::copysign(${b}, ${a})`),
  ),
  rule(
    'sqrt(?:\\.rn|\\.approx)\\.(f32)',
    unary(a => `std::sqrt(${a})`),
  ),
  rule(
    'sqrt\\.rn\\.(f64)',
    unary(a => `std::sqrt(${a})`),
  ),
  rule(
    'rcp\\.rn\\.(f64)',
    unary(a => `1.0 / ${a}`),
  ),
  rule(
    'rcp(?:\\.rn|\\.approx|\\.approx\\.ftz)\\.(f32)',
    unary(a => `1.0f / ${a}`),
  ),
  // The upper word alone: the start of a division by Newton's method.
  rule('rcp\\.approx\\.ftz\\.f64', (k, [d, a]) =>
    output(k, 'b64', d, `bits(1.0 / ${input(k, 'f64', a)}) & 0xffffffff00000000ull`),
  ),
  rule(
    'rsqrt\\.approx(?:\\.ftz)?\\.(f32|f64)',
    unary(a => `1.0 / std::sqrt((double)${a})`),
  ),
  rule(
    'ex2\\.approx(?:\\.ftz)?\\.(f32)',
    unary(a => `std::exp2(${a})`),
  ),
  rule(
    'lg2\\.approx(?:\\.ftz)?\\.(f32)',
    unary(a => `std::log2(${a})`),
  ),
  rule(
    'sin\\.approx(?:\\.ftz)?\\.(f32)',
    unary(a => `std::sin(${a})`),
  ),
  rule(
    'cos\\.approx(?:\\.ftz)?\\.(f32)',
    unary(a => `std::cos(${a})`),
  ),
  rule(
    'tanh\\.approx\\.(f32)',
    unary(a => `std::tanh(${a})`),
  ),

  // Conversions.
  rule('cvt\\.([us](?:8|16|32|64))\\.([us](?:8|16|32|64))', (k, [d, a], m) =>
    output(k, m[1], d, `(${cTypes[m[1]]})${input(k, m[2], a)}`),
  ),
  rule('cvt\\.rn\\.(f32|f64)\\.([us](?:8|16|32|64))', (k, [d, a], m) =>
    output(k, m[1], d, input(k, m[2], a)),
  ),
  rule('cvt\\.f64\\.f32', (k, [d, a]) => output(k, 'f64', d, input(k, 'f32', a))),
  rule('cvt\\.rn\\.f32\\.f64', (k, [d, a]) => output(k, 'f32', d, input(k, 'f64', a))),
  rule('cvt\\.(rni|rzi|rmi|rpi)\\.([us](?:32|64))\\.(f32|f64)', (k, [d, a], m) => {
    const [low, high, least, most] = limits[m[2]]
    return output(
      k,
      m[2],
      d,
      `(to_integer<${cTypes[m[2]]}, double>(${roundings[m[1]]}((double)${input(k, m[3], a)}), ${low}, ${high}, ${least}, ${most}))`,
    )
  }),
  rule('cvt\\.(rni|rzi|rmi|rpi)\\.(f32|f64)\\.\\2', (k, [d, a], m) =>
    output(k, m[2], d, `${roundings[m[1]]}(${input(k, m[2], a)})`),
  ),
  rule('cvt\\.sat\\.f32\\.f32', (k, [d, a]) =>
    output(k, 'f32', d, `std::fmin(1.0f, std::fmax(0.0f, ${input(k, 'f32', a)}))`),
  ),
  rule('cvt\\.rn\\.bf16\\.f32', (k, [d, a]) => output(k, 'b16', d, `to_bf16(${input(k, 'f32', a)})`)),
  rule('cvt\\.f32\\.bf16', (k, [d, a]) => output(k, 'f32', d, `from_bf16(${input(k, 'b16', a)})`)),
  // The first source is the upper half.
  rule('cvt\\.rn\\.bf16x2\\.f32', (k, [d, a, b]) =>
    output(k, 'b32', d, `(uint32_t)to_bf16(${input(k, 'f32', a)}) << 16 | to_bf16(${input(k, 'f32', b)})`),
  ),

  // Memory.
  rule(`ld${spaces}${hints}${memoryType}`, loadRule),
  rule(`st${spaces}${hints}${memoryType}`, storeRule),
  rule(
    'ld\\.acquire\\.gpu\\.global\\.(u32|b32)',
    (k, [d, from], m) =>
      `emulator::spin(); char* p = ${place(k, 'global', from, 4, false)}; ${output(k, m[1], d, '__atomic_load_n(reinterpret_cast<Cell<uint32_t>::type*>(p), __ATOMIC_RELAXED)')} emulator::fence();`,
  ),
  rule(
    'st\\.release\\.gpu\\.global\\.(u32|b32)',
    (k, [to, a]) =>
      `emulator::fence(); char* p = ${place(k, 'global', to, 4, true)}; __atomic_store_n(reinterpret_cast<Cell<uint32_t>::type*>(p), ${input(k, 'u32', a)}, __ATOMIC_RELAXED);`,
  ),
  rule(
    '(atom|red)(?:\\.relaxed(?:\\.gpu)?)?(?:\\.(global|shared))?\\.(add|min|max|and|or|xor|exch|cas)\\.([usb](?:32|64))',
    atomicRule,
  ),
  rule(
    '(?:membar\\.(?:gl|cta)|fence\\.acq_rel\\.(?:gpu|cta)|fence\\.sc\\.(?:gpu|cta))',
    () => 'emulator::fence();',
  ),
  rule('cvta\\.to\\.shared\\.u64', (k, [d, a]) => output(k, 'u64', d, `to_shared(${input(k, 'u64', a)})`)),
  rule('cvta\\.shared\\.u64', (k, [d, a]) => output(k, 'u64', d, `to_generic(${input(k, 'u64', a)})`)),
  rule('cvta(?:\\.to)?\\.(?:global|local|const|param)\\.u64', (k, [d, a]) =>
    output(k, 'u64', d, input(k, 'u64', a)),
  ),
  rule('prefetch\\.global\\.L[12]', () => ''),
  rule(
    'cp\\.async\\.(?:cg|ca)\\.shared\\.global(?:\\.L2::128B)?',
    (k, [to, from, bytes, valid = bytes]) =>
      `emulator::copy_async(shared((uint64_t)${k.address(to).expression}, ${bytes}, ${k.site}), reinterpret_cast<const void*>((uint64_t)${k.address(from).expression}), ${bytes}, ${input(k, 'u32', valid)}, ${k.site});`,
  ),
  rule('cp\\.async\\.commit_group', () => 'emulator::copy_commit();'),
  rule('cp\\.async\\.wait_group', (_k, [left]) => `emulator::copy_wait(${left});`),
  rule('cp\\.async\\.wait_all', () => 'emulator::copy_commit(); emulator::copy_wait(0);'),

  // Barriers, warps, clusters.
  rule(
    '(?:bar|barrier)\\.sync(?:\\.aligned)?',
    (k, [id, count = '0']) =>
      `emulator::barrier(${id}, ${input(k, 'u32', count)}, emulator::Vote::none, 0, ${k.site});`,
  ),
  rule('(?:bar|barrier)\\.red\\.popc(?:\\.aligned)?\\.u32', (k, [d, id, p]) =>
    output(k, 'u32', d, `emulator::barrier(${id}, 0, emulator::Vote::count, ${k.value(p)}, ${k.site})`),
  ),
  rule('(?:bar|barrier)\\.red\\.(or|and)(?:\\.aligned)?\\.pred', (k, [d, id, p], m) =>
    output(
      k,
      'pred',
      d,
      `emulator::barrier(${id}, 0, emulator::Vote::${m[1] === 'or' ? 'any' : 'all'}, ${k.value(p)}, ${k.site})`,
    ),
  ),
  rule(
    'bar\\.warp\\.sync',
    (k, [mask]) =>
      `emulator::collective(emulator::Collective::sync, ${input(k, 'u32', mask)}, nullptr, nullptr, ${k.site});`,
  ),
  rule('shfl\\.sync\\.(bfly|idx|up|down)\\.b32', (k, [d, a, b, c, mask], m) => {
    const [target, predicate] = d.split('|')
    const call = `shuffle_word(emulator::Shuffle::${shuffles[m[1]]}, ${input(k, 'b32', a)}, ${input(k, 'b32', b)}, ${input(k, 'b32', c)}, ${input(k, 'b32', mask)}, ${predicate ? '&valid' : 'nullptr'}, ${k.site})`
    return predicate
      ? `bool valid = false; ${output(k, 'b32', target, call)} ${k.value(predicate)} = valid;`
      : output(k, 'b32', target, call)
  }),
  rule('vote\\.sync\\.ballot\\.b32', (k, [d, p, mask]) =>
    output(k, 'b32', d, `emulator::ballot(${input(k, 'b32', mask)}, ${k.value(p)}, ${k.site})`),
  ),
  rule('vote\\.sync\\.any\\.pred', (k, [d, p, mask]) =>
    output(k, 'pred', d, `emulator::ballot(${input(k, 'b32', mask)}, ${k.value(p)}, ${k.site}) != 0`),
  ),
  rule('vote\\.sync\\.all\\.pred', (k, [d, p, mask]) =>
    output(
      k,
      'pred',
      d,
      `emulator::ballot(${input(k, 'b32', mask)}, ${k.value(p)}, ${k.site}) == ${input(k, 'b32', mask)}`,
    ),
  ),
  rule('match\\.any\\.sync\\.(b32|b64)', (k, [d, a, mask], m) =>
    output(k, 'b32', d, `emulator::match_any(${input(k, 'b32', mask)}, ${input(k, m[1], a)}, ${k.site})`),
  ),
  rule('redux\\.sync\\.(add|min|max|and|or|xor)\\.([usb]32)', (k, [d, a, mask], m) => {
    const name = { add: 'add', min: 'minimum', max: 'maximum', and: 'bit_and', or: 'bit_or', xor: 'bit_xor' }[
      m[1]
    ]
    return output(
      k,
      'b32',
      d,
      `emulator::reduce(emulator::Reduction::${name}, ${m[2] === 's32'}, ${input(k, 'b32', mask)}, ${input(k, 'b32', a)}, ${k.site})`,
    )
  }),
  rule('barrier\\.cluster\\.arrive\\.release(?:\\.aligned)?', () => ''),
  rule('barrier\\.cluster\\.wait\\.acquire(?:\\.aligned)?', k => `emulator::cluster_barrier(${k.site});`),
  rule('mapa\\.u64', (k, [d, a, rank]) =>
    output(
      k,
      'u64',
      d,
      `(uint64_t)(uintptr_t)emulator::map_shared(reinterpret_cast<const void*>(${input(k, 'u64', a)}), ${input(k, 'u32', rank)})`,
    ),
  ),

  // Tensor cores.
  rule('ldmatrix\\.sync\\.aligned\\.m8n8\\.x([124])(\\.trans)?\\.shared\\.b16', ldmatrixRule),
  rule('mma\\.sync\\.aligned\\.m16n8k16\\.row\\.col\\.f32\\.bf16\\.bf16\\.f32', mmaRule('bf16')),
  rule('mma\\.sync\\.aligned\\.m16n8k8\\.row\\.col\\.f32\\.tf32\\.tf32\\.f32', mmaRule('tf32')),
]
