// `npm run tidy`: clang-tidy over native/core and native/addon, where it is installed (the kernels' intrinsics make it
// too slow for them). Checks stand in .clang-tidy.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { listItems, readNativeSources } from './native-sources.mjs'
import { findCommand } from './native-tools.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const list = readNativeSources()
const files = [...list.sources.core, ...list.sources.addon]
const command = findCommand('clang-tidy')
if (!command) {
  console.log(`clang-tidy not found: skipped ${files.length} native files (apt install clang-tidy)`)
} else {
  const flags = [
    ...list.flags.compile.filter(flag => flag.startsWith('-std')),
    ...listItems(list, 'include').map(folder => `-I${folder}`),
    `-DNAPI_VERSION=${list.napiVersion}`,
  ]
  const { status } = spawnSync(command, ['--quiet', ...files, '--', ...flags], {
    cwd: root,
    stdio: 'inherit',
  })
  console.log(`clang-tidy: ${files.length} native files, ${status === 0 ? 'nothing found' : 'see above'}`)
  process.exitCode = status ?? 1
}
