// Run by `npm install` in a clone: puts the command into node_modules/.bin, where npx looks first. Without it, `npx luffy`
// would install the clone into npm's cache, and build the kernels again for that.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../node_modules/.bin', import.meta.url))
const command = join(folder, 'luffy')
mkdirSync(folder, { recursive: true })
writeFileSync(command, "#!/usr/bin/env node\nimport('../../dist/lib/cli/main.js')\n")
chmodSync(command, 0o755)
