// npm's "install" step: builds the addon. A machine that cannot build it still installs (exit 0): the first import
// then says what to run, and build/status.json holds the reason.
import { existsSync } from 'node:fs'

// In a clone, `npx luffy` first links the clone into npm's cache and runs this step for it. The clone's own install has
// built the addon or has said why not: nothing to do, and nothing that a command should wait for.
const isNpxInClone =
  process.env.npm_command === 'exec' && existsSync(new URL('../tsconfig.json', import.meta.url))

try {
  if (isNpxInClone) process.exit(0)
  const { buildNative, describeBuild, progressPrinter } = await import('./build-native.mjs')
  const status = await buildNative({ onProgress: progressPrinter() })
  console.log(describeBuild(status))
  if (!status.ok) console.log('luffy: the rest is installed. After the repair: npx luffy build')
} catch (error) {
  console.log(`luffy: the kernels are not built: ${error instanceof Error ? error.message : error}`)
  console.log('luffy: run npx luffy doctor to see what is missing')
}
