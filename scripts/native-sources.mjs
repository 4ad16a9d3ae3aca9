// Prints one list of native/sources.json, an item a line, for binding.gyp (which can run a command, not read JSON):
//   node scripts/native-sources.mjs core | addon | ops | compile | link | napi | include | cpu_avx512 | ...
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))

export function readNativeSources() {
  return JSON.parse(readFileSync(new URL('../native/sources.json', import.meta.url), 'utf8'))
}

// The compilations of the kernels on this processor: { name, flags }, best first.
export function nativeBackends(list = readNativeSources(), arch = process.arch) {
  return list.backends[arch] ?? list.backends.other
}

export function listItems(list, name) {
  if (name in list.sources) return list.sources[name]
  if (name === 'compile') {
    return process.env.LUFFY_STRICT === '1'
      ? [...list.flags.compile, ...list.flags.strict]
      : list.flags.compile
  }
  if (name === 'link') return list.flags.link[process.platform] ?? []
  if (name === 'napi') return [String(list.napiVersion)]
  if (name === 'include') {
    // Relative, since gyp splits the printed text at spaces.
    const folders = [
      require('node-api-headers').include_dir,
      dirname(require.resolve('node-addon-api/package.json')),
    ]
    return folders.map(folder => relative(root, folder))
  }
  const backend = nativeBackends(list).find(candidate => candidate.name === name)
  if (backend) return backend.flags
  throw new Error(`native/sources.json has no list "${name}"`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(listItems(readNativeSources(), process.argv[2]).join('\n'))
}
