// Which ops of native/ops/op-list.h have no case among the case files of a folder, in float32 or in bfloat16. Used where
// cases are recorded: scripts/gpu-pack.mjs and scripts/emulator-tests.mjs. `node scripts/case-coverage.mjs FOLDER` prints
// them and ends with 1 when there are some.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

// Ops that no dtype but float32 reaches (beside integers and float64 sums), as their contracts say.
const float32Only = ['gradientNorm', 'groupAdvantages', 'linearPack', 'policyLoss', 'reduce', 'sampleTokens']

// The ops of op-list.h under their names in case files.
export function listedOps(root) {
  const text = readFileSync(join(root, 'native/ops/op-list.h'), 'utf8')
  const list = /#define LUFFY_OPS\(X\)((?:.*\\\n)*.*)/.exec(text)?.[1] ?? ''
  return [...list.matchAll(/X\((\w+)\)/g)].map(([, name]) =>
    name.replace(/_(\w)/g, (_, c) => c.toUpperCase()),
  )
}

// Op to the dtypes that its cases compute in: 'bfloat16' where a tensor of a call is, 'float32' where one is and none is
// bfloat16.
export function recordedOps(folder) {
  const ops = new Map()
  for (const name of readdirSync(folder).filter(name => name.endsWith('.cases'))) {
    const bytes = readFileSync(join(folder, name))
    let tensors = new Map()
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(10, at)
      if (end < 0) throw new Error(`${name}: the file is cut`)
      const [kind, id, ...rest] = bytes.toString('latin1', at, end).split(' ')
      at = end + 1
      if (kind === 'case') tensors = new Map()
      else if (kind === 'tensor') tensors.set(id, rest[0])
      else if (kind === 'view') tensors.set(id, tensors.get(rest[0]))
      else if (kind === 'data') at += Number(rest[0]) + 1
      else if (kind === 'expect') at += Number(rest[2]) * Number(rest[3]) + 1
      else if (kind === 'call' || kind === 'prepare') {
        const dtypes = rest.map(word => tensors.get(word.slice(1)))
        const dtype = ['bfloat16', 'float32'].find(each => dtypes.includes(each))
        ops.set(id, (ops.get(id) ?? new Set()).add(dtype))
      }
    }
  }
  return ops
}

// What is missing, a line each.
export function uncovered(root, folder) {
  const recorded = recordedOps(folder)
  const listed = listedOps(root)
  if (listed.length === 0) return ['native/ops/op-list.h lists no op']
  return listed.flatMap(op => {
    const dtypes = float32Only.includes(op) ? ['float32'] : ['float32', 'bfloat16']
    return dtypes.filter(dtype => !recorded.get(op)?.has(dtype)).map(dtype => `${op} has no case in ${dtype}`)
  })
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [folder] = process.argv.slice(2)
  if (folder === undefined) {
    console.error('usage: node scripts/case-coverage.mjs FOLDER')
    process.exitCode = 2
  } else {
    const gaps = uncovered(fileURLToPath(new URL('..', import.meta.url)), folder)
    for (const gap of gaps) console.log(gap)
    if (gaps.length > 0) process.exitCode = 1
  }
}
