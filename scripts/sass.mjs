// Counts machine instructions of the kernels in a cubin without a disassembler: an instruction has 16 bytes, its opcode
// is the low 12 bits, and loads and stores say their width in bits 73 to 75. The same for sm_80, 90, 100 and 120.
import { readFileSync } from 'node:fs'

const opcodes = {
  572: 'mma', // HMMA, bfloat16 and float16
  2107: 'ldmatrix',
  4014: 'asyncCopies', // LDGSTS
  2433: 'loads', // LDG
  2438: 'stores', // STG
  2435: 'local', // LDL
  903: 'local', // STL
}
// Codes of the widths that are counted besides.
const widths = { 5: 64, 6: 128 }

// { mangled kernel: { mma, ldmatrix, asyncCopies, loads, loads64, loads128, stores, stores64, stores128, local } }
export function countInstructions(path) {
  const file = readFileSync(path)
  if (file.readUInt32BE(0) !== 0x7f454c46) throw new Error(`${path} is no ELF file`)
  const table = Number(file.readBigUInt64LE(40))
  const [size, count, names] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)]
  const section = i => {
    const at = table + i * size
    return {
      name: file.readUInt32LE(at),
      begin: Number(file.readBigUInt64LE(at + 24)),
      bytes: Number(file.readBigUInt64LE(at + 32)),
    }
  }
  const strings = section(names).begin
  const textOf = at => file.toString('latin1', strings + at, file.indexOf(0, strings + at))
  const kernels = {}
  for (let i = 0; i < count; i++) {
    const { name, begin, bytes } = section(i)
    const text = textOf(name)
    if (!text.startsWith('.text.')) continue
    const counts = {
      mma: 0,
      ldmatrix: 0,
      asyncCopies: 0,
      loads: 0,
      loads64: 0,
      loads128: 0,
      stores: 0,
      stores64: 0,
      stores128: 0,
      local: 0,
    }
    for (let at = begin; at < begin + bytes; at += 16) {
      const what = opcodes[file.readUInt16LE(at) & 0xfff]
      if (what === undefined) continue
      counts[what]++
      const width = widths[(file.readUInt16LE(at + 8) >> 9) & 7]
      if (width !== undefined && (what === 'loads' || what === 'stores')) counts[`${what}${width}`]++
    }
    kernels[text.slice('.text.'.length)] = counts
  }
  return kernels
}
