// `npm run test:sanitize [test files]`: builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer into
// build/Sanitize and runs the tests that reach native code against it; the first finding ends the run. Leaks are not
// looked for here: node's own at exit cannot be told from the addon's, whose live bytes the leak tests count.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { buildNative, describeBuild, progressPrinter, root } from './build-native.mjs'
import { findTools } from './native-tools.mjs'

const flags = '-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
const defaultTests = ['ops', 'tensor', 'autograd', 'methods', 'native'].map(
  name => `dist/test/${name}/**/*.test.js`,
)

// The sanitizers must be in the process before node starts. libstdc++ too: they look for its __cxa_throw then.
function preloads(compiler) {
  return ['libasan.so', 'libubsan.so', 'libstdc++.so.6'].map(name => {
    const path = execFileSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
    if (!isAbsolute(path) || !existsSync(path)) throw new Error(`${name} not found: the sanitizers need g++`)
    return path
  })
}

const status = await buildNative({
  folder: 'Sanitize',
  builder: 'cmake',
  extraFlags: flags,
  onProgress: progressPrinter(),
})
console.log(describeBuild(status))
if (!status.ok) process.exit(1)

const ava = join(root, 'node_modules/ava/entrypoints/cli.mjs')
const tests = process.argv.slice(2)
const { status: code } = spawnSync(
  process.execPath,
  [ava, '--timeout=9m', ...(tests.length > 0 ? tests : defaultTests)],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      LUFFY_TEST_DEVICES: 'cpu',
      ...process.env,
      LUFFY_NATIVE: status.addon,
      LUFFY_SANITIZE: '1',
      LD_PRELOAD: preloads(findTools().compiler.path).join(' '),
      ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=0:strict_string_checks=1:exitcode=99',
      UBSAN_OPTIONS: 'print_stacktrace=1:exitcode=99',
    },
  },
)
process.exitCode = code ?? 1
