// Translates the PTX that nvcc makes into C++ for native/emulator (leg B), so that inline assembly and what the compiler
// made of a kernel are run too. Knows the instructions it has met, each by its full form, and stops at any other with
// "no rule for ...".
import { createHash } from 'node:crypto'
import { instructionRules } from './ptx-rules.mjs'

const widths = { pred: 'bool', b8: 'uint8_t', b16: 'uint16_t', b32: 'uint32_t', b64: 'uint64_t' }
const registerTypes = {
  ...widths,
  ...{ u16: 'uint16_t', s16: 'uint16_t', f16: 'uint16_t', u32: 'uint32_t', s32: 'uint32_t', f32: 'uint32_t' },
  ...{ u64: 'uint64_t', s64: 'uint64_t', f64: 'uint64_t' },
}
const elementBytes = type => Number(/\d+/.exec(type)[0]) / 8
const reservedShared = 1024

function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\//g, ' ').replace(/\/\/.*$/gm, '')
}

// Statements of a body: text, '{' and '}'. A brace opens a block only where a statement begins.
function statementsOf(body) {
  const out = []
  let now = ''
  let depth = 0
  for (const char of body) {
    if (char === '{' && now.trim() === '') out.push('{')
    else if (char === '}' && depth === 0 && now.trim() === '') out.push('}')
    else if (char === ';') {
      out.push(now.trim())
      now = ''
    } else if (char === ':' && /^\s*[$%\w]+$/.test(now)) {
      out.push(`${now.trim()}:`)
      now = ''
    } else {
      if (char === '{') depth++
      if (char === '}') depth--
      now += char
    }
  }
  if (now.trim() !== '') throw new Error(`ptx: unfinished statement '${now.trim()}'`)
  return out.filter(text => text !== '')
}

// Commas outside braces and brackets.
function splitOperands(text) {
  const out = []
  let depth = 0
  let now = ''
  for (const char of text) {
    if (char === ',' && depth === 0) {
      out.push(now.trim())
      now = ''
      continue
    }
    if ('{['.includes(char)) depth++
    if ('}]'.includes(char)) depth--
    now += char
  }
  if (now.trim() !== '') out.push(now.trim())
  return out
}

const alignUp = (value, to) => Math.ceil(value / to) * to

// `.align 128 .b8 name[1024]` or `.align 4 .u32 name`, after the state space.
function parseArray(text) {
  const match = /^(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([$\w%]+)(?:\[(\d*)\])?(?:\s*=\s*([\s\S]*))?$/.exec(
    text.trim(),
  )
  if (!match) throw new Error(`ptx: no rule for the declaration '${text}'`)
  const [, align = '1', type, name, count, values] = match
  const bytes = elementBytes(type) * (count === undefined ? 1 : count === '' ? 0 : Number(count))
  return {
    name,
    align: Math.max(Number(align), elementBytes(type)),
    type,
    bytes,
    values,
    dynamic: count === '',
  }
}

class Kernel {
  constructor(name, parameters, module) {
    this.name = name
    this.parameters = parameters
    this.module = module
    this.lines = []
    this.declarations = new Map()
    this.shared = new Map()
    this.sharedBytes = reservedShared
    this.locals = []
    this.site = 'kNowhere'
    this.temporaries = 0
  }

  error(message) {
    return new Error(`ptx: ${message} (kernel ${this.name})`)
  }

  placeShared({ name, align, bytes }) {
    if (this.shared.has(name)) return
    const offset = alignUp(this.sharedBytes, Math.max(align, 16))
    this.shared.set(name, offset)
    this.sharedBytes = offset + bytes
  }

  // The C++ expression of a register, special register, literal or symbol.
  value(text) {
    const special = {
      '%tid': 'thread_index',
      '%ctaid': 'block_index',
      '%ntid': 'block_size',
      '%nctaid': 'grid_size',
    }
    const dimension = /^(%\w+)\.([xyz])$/.exec(text)
    if (dimension && special[dimension[1]])
      return `(uint32_t)emulator::current->${special[dimension[1]]}.${dimension[2]}`
    if (text === '%laneid') return '(emulator::current->rank & 31u)'
    if (text === '%cluster_ctarank') return '(uint32_t)emulator::current->cluster_rank'
    if (text === '%cluster_nctarank') return '(uint32_t)emulator::current->cluster_size'
    if (text.startsWith('!')) return `!${this.value(text.slice(1))}`
    // (In blocks of its own nvcc declares registers without a percent sign.)
    const register = this.scopeOf(text)
    if (register) return register
    if (text.startsWith('%')) throw this.error(`no rule for the register ${text}`)
    if (/^0[fF][0-9a-fA-F]{8}$/.test(text)) return `0x${text.slice(2)}u`
    if (/^0[dD][0-9a-fA-F]{16}$/.test(text)) return `0x${text.slice(2)}ull`
    if (/^-?(0x[0-9a-fA-F]+|\d+)U?$/.test(text)) {
      const digits = text.replace(/U$/, '')
      return digits.startsWith('-') ? `(-INT64_C(${digits.slice(1)}))` : `INT64_C(${digits})`
    }
    return this.symbol(text)
  }

  symbol(name) {
    if (this.shared.has(name)) return `UINT64_C(${this.shared.get(name)})`
    const array = this.module.shared.get(name)
    if (array?.dynamic) {
      this.usesDynamic = true
      return 'kDynamic'
    }
    if (array) {
      this.placeShared(array)
      return `UINT64_C(${this.shared.get(name)})`
    }
    const parameter = /_param_(\d+)$/.exec(name)
    if (parameter) return `(uint64_t)(uintptr_t)arguments[${parameter[1]}]`
    if (this.module.globals.has(name)) return `(uint64_t)(uintptr_t)${cName(name)}`
    if (this.locals.includes(name)) return `(uint64_t)(uintptr_t)${cName(name)}`
    throw this.error(`no rule for the name '${name}'`)
  }

  // Registers of nested blocks shadow those outside, as in C++.
  scopeOf(text) {
    for (let i = this.scopes.length - 1; i >= 0; i--) {
      const found = this.scopes[i].find(({ name, ranged }) => matches(text, name, ranged))
      if (found) {
        const id = cName(text) + (i === 0 ? '' : `_${this.scopes[i].id}`)
        this.declarations.set(id, found.type)
        return id
      }
    }
    return null
  }

  // [register + 16] or [symbol]: the address as an integer.
  address(text) {
    const match = /^\[\s*([^\s+]+)\s*(?:\+\s*(-?\d+))?\s*\]$/.exec(text)
    if (!match) throw this.error(`no rule for the address ${text}`)
    const [, base, offset] = match
    return { base, offset: Number(offset ?? 0), expression: `(${this.value(base)} + ${offset ?? 0})` }
  }

  translate(body) {
    this.scopes = [Object.assign([], { id: 0 })]
    let scopes = 0
    const statements = statementsOf(body)
    for (const text of statements) {
      if (text === '{') {
        this.scopes.push(Object.assign([], { id: ++scopes }))
      } else if (text === '}') {
        this.scopes.pop()
      } else if (text.endsWith(':') && !text.includes(' ')) {
        this.lines.push(`${cName(text.slice(0, -1))}:;`)
      } else if (text.startsWith('.')) {
        this.directive(text)
      } else {
        this.instruction(text)
      }
    }
  }

  directive(text) {
    const register = /^\.reg\s+\.(\w+)\s+(.*)$/.exec(text)
    if (register) {
      const type = registerTypes[register[1]]
      if (!type) throw this.error(`no rule for registers of type .${register[1]}`)
      for (const item of splitOperands(register[2])) {
        const ranged = /^(.*)<\d+>$/.exec(item)
        this.scopes.at(-1).push({ name: ranged ? ranged[1] : item, ranged: Boolean(ranged), type })
      }
      return
    }
    const loc = /^\.loc\s+(\d+)\s+(\d+)(?:.*inlined_at\s+(\d+)\s+(\d+))?/.exec(text)
    if (loc) {
      const [file, line] = loc[3] ? [loc[3], loc[4]] : [loc[1], loc[2]]
      this.site = `emulator::Site{kFile${file}, ${line}}`
      this.module.usedFiles.add(file)
      return
    }
    if (text.startsWith('.shared')) return this.placeShared(parseArray(text.slice(7)))
    if (text.startsWith('.local')) {
      const array = parseArray(text.slice(6))
      this.locals.push(array.name)
      this.declarations.set(`${cName(array.name)}[${array.bytes}]`, `alignas(${array.align}) char`)
      return
    }
    if (text.startsWith('.pragma')) return
    throw this.error(`no rule for the directive '${text}'`)
  }

  instruction(text) {
    const match = /^(?:@(!?%\w+)\s+)?([a-z][\w.:]*)\s*([\s\S]*)$/.exec(text)
    if (!match) throw this.error(`no rule for '${text}'`)
    const [, guard, opcode, rest] = match
    const operands = splitOperands(rest)
    for (const [pattern, emit] of instructionRules) {
      const found = pattern.exec(opcode)
      if (!found) continue
      const code = emit(this, operands, found)
      if (code === undefined) break
      this.lines.push(guard ? `if (${this.value(guard)}) { ${code} }` : `{ ${code} }`)
      return
    }
    throw this.error(`no rule for ${opcode} ${rest}`)
  }
}

const matches = (text, name, ranged) =>
  ranged ? text.startsWith(name) && /^\d+$/.test(text.slice(name.length)) : text === name
const cName = text => `v_${text.replace(/[^\w]/g, '_')}`

// PTX of one module to C++; `source` names it in what is made.
export function translatePtx(text, source) {
  const files = new Map(
    [...text.matchAll(/^\s*\.file\s+(\d+)\s+"([^"]*)"/gm)].map(match => [match[1], match[2]]),
  )
  const clean = withoutComments(text)
    .replace(/^\s*\.file\s.*$/gm, '')
    .replace(/^\s*\.section[\s\S]*$/m, '')
    .replace(/^\s*(\.loc\s[^\n;]*)$/gm, '$1;')
    .replace(/^\s*\.(version|target|address_size)\s.*$/gm, '')
  const module = { shared: new Map(), globals: new Map(), usedFiles: new Set() }
  const kernels = []
  const entry = /\.entry\s+([$\w]+)\s*\(([^)]*)\)([^{]*)\{/g
  let outside = ''
  let at = 0
  for (let match = entry.exec(clean); match; match = entry.exec(clean)) {
    outside += clean.slice(at, match.index).replace(/\.(visible|weak)\s*$/, '')
    let depth = 1
    let end = entry.lastIndex
    for (; depth > 0; end++) {
      if (clean[end] === undefined) throw new Error(`ptx: kernel ${match[1]} has no end`)
      if (clean[end] === '{') depth++
      if (clean[end] === '}') depth--
    }
    kernels.push({ name: match[1], parameters: match[2], body: clean.slice(entry.lastIndex, end - 1) })
    at = end
    entry.lastIndex = end
  }
  outside += clean.slice(at)
  if (/\.func\b/.test(outside)) throw new Error('ptx: no rule for .func (a device function was not inlined)')
  for (const statement of statementsOf(outside)) {
    const match = /^(?:\.(?:visible|extern|weak)\s+)?\.(shared|global|const)\s+([\s\S]*)$/.exec(statement)
    if (!match) throw new Error(`ptx: no rule for '${statement}'`)
    const array = parseArray(match[2])
    if (match[1] === 'shared') module.shared.set(array.name, array)
    else module.globals.set(array.name, array)
  }

  const made = kernels.map(({ name, parameters, body }, index) => {
    const kernel = new Kernel(name, parameters, module)
    kernel.translate(body)
    const dynamic = alignUp(kernel.sharedBytes, 128)
    const declarations = [...kernel.declarations].map(([id, type]) => `  ${type} ${id};`)
    return `// ${name}
extern char host_${index}[] asm("${name}");
static void kernel_${index}(void** arguments) {
  constexpr uint64_t kDynamic = ${dynamic};
  (void)kDynamic;
  (void)arguments;
${declarations.join('\n')}
${kernel.lines.map(line => `  ${line}`).join('\n')}
  return;
}
static const bool registered_${index} = [] {
  emulator::register_ptx_kernel(host_${index}, kernel_${index}, ${dynamic});
  return true;
}();
`
  })
  const globals = [...module.globals.values()].map(({ name, align, type, bytes, values }) => {
    const element =
      registerTypes[type] ?? (type === 'b8' || type === 'u8' || type === 's8' ? 'uint8_t' : null)
    if (!element) throw new Error(`ptx: no rule for a global of type .${type}`)
    return `alignas(${align}) static ${element} ${cName(name)}[${bytes / elementBytes(type)}] = ${values ?? '{}'};`
  })
  const names = [...module.usedFiles].map(
    id => `static const char kFile${id}[] = ${JSON.stringify(files.get(id) ?? 'unknown')};`,
  )
  return `// Made by scripts/ptx-to-cpp.mjs from the PTX of ${source} (${createHash('sha256').update(text).digest('hex').slice(0, 12)}).
#include "native/emulator/ptx.h"
using namespace emulator::ptx;
${names.join('\n')}
static constexpr emulator::Site kNowhere{"ptx", 0};
${globals.join('\n')}
${made.join('\n')}`
}
