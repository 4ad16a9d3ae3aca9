// How scripts/ptx-rules.mjs reads and writes operands: types, comparisons, memory, conversions.
export const cTypes = {
  u8: 'uint8_t',
  s8: 'int8_t',
  b8: 'uint8_t',
  u16: 'uint16_t',
  s16: 'int16_t',
  b16: 'uint16_t',
  u32: 'uint32_t',
  s32: 'int32_t',
  b32: 'uint32_t',
  u64: 'uint64_t',
  s64: 'int64_t',
  b64: 'uint64_t',
  f32: 'float',
  f64: 'double',
}
const isFloat = type => type === 'f32' || type === 'f64'
const bytesOf = type => Number(/\d+/.exec(type)[0]) / 8
export const raw = type => `uint${bytesOf(type) * 8}_t`

// An operand read as `type`, and a result written to a register.
export const input = (k, type, text) => {
  if (type === 'pred') return k.value(text)
  const value = `(${raw(type)})(${k.value(text)})`
  return isFloat(type) ? `${type}(${value})` : `(${cTypes[type]})${value}`
}
export const output = (k, type, text, expression) => {
  if (text === '_') return `(void)(${expression});`
  if (type === 'pred') return `${k.value(text)} = ${expression};`
  if (isFloat(type)) return `${k.value(text)} = bits((${cTypes[type]})(${expression}));`
  // A signed value fills a wider register with its sign.
  return `${k.value(text)} = (${cTypes[type]})(${expression});`
}
export const vector = text =>
  text.startsWith('{')
    ? text
        .slice(1, -1)
        .split(',')
        .map(item => item.trim())
    : [text]

export const unary =
  make =>
  (k, [d, a], m) =>
    output(k, m[1], d, make(input(k, m[1], a)))
export const binary =
  make =>
  (k, [d, a, b], m) =>
    output(k, m[1], d, make(input(k, m[1], a), input(k, m[1], b), m[1]))

export const ints = '[us](?:16|32|64)'
export const wider = { u16: 'u32', s16: 's32', u32: 'u64', s32: 's64' }
// Integer arithmetic wraps: it is done unsigned and taken back.
export const wrap =
  operator =>
  (k, [d, a, b], m) =>
    output(
      k,
      m[1],
      d,
      `(${raw(m[1])})(${input(k, `b${bytesOf(m[1]) * 8}`, a)} ${operator} ${input(k, `b${bytesOf(m[1]) * 8}`, b)})`,
    )

const comparisons = {
  eq: '==',
  ne: '!=',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
  lo: '<',
  ls: '<=',
  hi: '>',
  hs: '>=',
}
export function compare(k, name, type, a, b) {
  const [x, y] = [input(k, type, a), input(k, type, b)]
  if (isFloat(type)) {
    if (name === 'num') return `(${x} == ${x} && ${y} == ${y})`
    if (name === 'nan') return `(${x} != ${x} || ${y} != ${y})`
    const ordered = { ne: `(${x} < ${y} || ${x} > ${y})` }
    if (ordered[name]) return ordered[name]
    if (comparisons[name]) return `(${x} ${comparisons[name]} ${y})`
    const base = name.slice(0, -1)
    if (name.endsWith('u') && comparisons[base])
      return `(${x} != ${x} || ${y} != ${y} || ${x} ${comparisons[base]} ${y})`
  } else if (comparisons[name]) return `(${x} ${comparisons[name]} ${y})`
  throw k.error(`no rule for the comparison ${name}.${type}`)
}

// ld and st: space, cache hints, vector width, type.
export const spaces = '(?:\\.(global|shared|local|param|const|shared::cluster))?'
export const hints = '(?:\\.(?:nc|ca|cg|cs|lu|cv|wb|wt|L1::no_allocate|L1::evict_first|L2::128B|L2::256B))*'
export const memoryType = '(?:\\.(v2|v4))?\\.([usb](?:8|16|32|64)|f32|f64)'

export function place(k, space, text, bytes, isStore) {
  const address = k.address(text).expression
  if (space === 'shared') return `shared((uint64_t)${address}, ${bytes}, ${k.site})`
  if (['local', 'const', 'param'].includes(space)) return `reinterpret_cast<char*>((uint64_t)${address})`
  if (space === undefined || space === 'shared::cluster')
    return `generic((uint64_t)${address}, ${bytes}, ${k.site})`
  return `global((uint64_t)${address}, ${bytes}, ${isStore}, ${k.site})`
}
export const loadRule = (k, [target, from], [, space, , type]) => {
  const targets = vector(target)
  const each = bytesOf(type)
  const parts = targets.map((t, i) => {
    const value = `load<${cTypes[isFloat(type) ? `b${each * 8}` : type]}>(p + ${i * each})`
    return t === '_' ? '' : `${k.value(t)} = ${value};`
  })
  return `const char* p = ${place(k, space, from, each * targets.length, false)}; ${parts.join(' ')}`
}
export const storeRule = (k, [to, source], [, space, , type]) => {
  const sources = vector(source)
  const each = bytesOf(type)
  const parts = sources.map((s, i) => `store<${raw(type)}>(p + ${i * each}, (${raw(type)})(${k.value(s)}));`)
  return `char* p = ${place(k, space, to, each * sources.length, true)}; ${parts.join(' ')}`
}

function atomicPlace(k, space, text, bytes) {
  return `char* p = ${place(k, space, text, bytes, true)};`
}
export const atomicRule = (k, operands, m) => {
  const [, kind, space, operation, type] = m
  const [target, where, value, other] = kind === 'red' ? ['_', ...operands] : operands
  const t = cTypes[type]
  const cell = `reinterpret_cast<typename Cell<${t}>::type*>(p)`
  const v = input(k, type, value)
  const simple = { add: 'add', and: 'and', or: 'or', xor: 'xor' }[operation]
  let code
  if (simple) code = `const ${t} old = __atomic_fetch_${simple}(${cell}, ${v}, __ATOMIC_RELAXED);`
  else if (operation === 'exch')
    code = `const ${t} old = __atomic_exchange_n(${cell}, ${v}, __ATOMIC_RELAXED);`
  else if (operation === 'cas')
    code = `${t} old = ${v}; __atomic_compare_exchange_n(${cell}, &old, ${input(k, type, other)}, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);`
  else
    code = `${t} old = __atomic_load_n(${cell}, __ATOMIC_RELAXED); const ${t} mine = ${v}; while (mine ${operation === 'max' ? '>' : '<'} old && !__atomic_compare_exchange_n(${cell}, &old, mine, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}`
  const result = target === '_' ? '(void)old;' : output(k, type, target, 'old')
  return `${atomicPlace(k, space, where, bytesOf(type))} ${code} ${result}`
}

export const shuffles = { bfly: 'exclusive_or', idx: 'index', up: 'up', down: 'down' }
export const roundings = { rni: 'std::nearbyint', rzi: 'std::trunc', rmi: 'std::floor', rpi: 'std::ceil' }
export const limits = {
  s32: ['-2147483648.0', '2147483648.0', 'INT32_MIN', 'INT32_MAX'],
  u32: ['0.0', '4294967296.0', '0u', 'UINT32_MAX'],
  s64: ['-9223372036854775808.0', '9223372036854775808.0', 'INT64_MIN', 'INT64_MAX'],
  u64: ['0.0', '18446744073709551616.0', 'UINT64_C(0)', 'UINT64_MAX'],
}

const fragment = (k, text, type) =>
  vector(text)
    .map(item => input(k, type, item))
    .join(', ')

export function ldmatrixRule(k, [targets, from], m) {
  const registers = vector(targets)
  if (registers.length !== Number(m[1])) throw k.error('ldmatrix: number of registers')
  const address = `shared_row((uint64_t)${k.address(from).expression}, ${m[1]}, ${k.site})`
  const out = registers.map((r, i) => `${k.value(r)} = words[${i}];`).join(' ')
  return `uint32_t words[4]; emulator::ldmatrix(words, ${m[1]}, ${Boolean(m[2])}, ${address}, ${k.site}); ${out}`
}
export const mmaRule =
  kind =>
  (k, [d, a, b, c]) => {
    const out = vector(d)
      .map((r, i) => `${k.value(r)} = bits(sum[${i}]);`)
      .join(' ')
    return (
      `const uint32_t a[] = {${fragment(k, a, 'b32')}}; const uint32_t b[] = {${fragment(k, b, 'b32')}}; ` +
      `const float c[] = {${fragment(k, c, 'f32')}}; float sum[4]; ` +
      `emulator::mma_m16n8(emulator::MmaInput::${kind}, sum, a, b, c, ${k.site}); ${out}`
    )
  }

export const shiftAmount = (k, text) => `(uint32_t)(${k.value(text)})`
export const rule = (text, emit) => [new RegExp(`^${text}$`), emit]
