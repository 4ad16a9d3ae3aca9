// `npm run gpu:pack [-- FILE | --list]`: everything that tests and times the CUDA kernels on a machine with a GPU, nvcc and
// CMake but no network and perhaps no Node, in one archive of at most 64 MiB: sources, case files, compiled JavaScript with
// what it imports, this machine's addon and its Node. There: unpack it and run `sh scripts/gpu-run.sh`. --list names what
// goes in with its sizes, and makes nothing: it fails when something is missing.
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { uncovered } from './case-coverage.mjs'
import { buildPlugin, missing } from './emulator.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const mebibyte = 2 ** 20
const most = 64 * mebibyte

// Packages that only building needs.
const building = ['cmake-js', 'node-addon-api', 'node-api-headers', 'node-gyp']
const isNeeded = name => !/\.(map|md|markdown|d\.[cm]?ts|test\.js\.map)$/i.test(name)

// Files of a part, from the root. Every entry of `places` must be there.
function filesOf(places) {
  return places.flatMap(place => {
    const path = join(root, place)
    if (!existsSync(path))
      throw new Error(`${place} is missing: npm run build makes it, or correct scripts/gpu-pack.mjs`)
    if (!statSync(path).isDirectory()) return [place]
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && isNeeded(entry.name))
      .map(entry => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
  })
}

// Folders of the packages that these import, with theirs.
function packagesOf(names) {
  const found = new Set()
  const add = (name, from) => {
    let folder = from
    while (!existsSync(join(folder, 'node_modules', name, 'package.json'))) {
      if (folder === root || dirname(folder) === folder)
        throw new Error(`${name} is not installed: npm install`)
      folder = dirname(folder)
    }
    const path = join(folder, 'node_modules', name)
    if (found.has(path)) return
    found.add(path)
    const { dependencies = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
    for (const each of Object.keys(dependencies)) add(each, path)
  }
  for (const name of names) add(name, root)
  return [...found].map(path => relative(root, path))
}

// The packages' own files: those within another's folder are a package of their own.
const filesOfPackages = names =>
  packagesOf(names).flatMap(path =>
    filesOf([path]).filter(file => !file.slice(path.length + 1).startsWith('node_modules/')),
  )

function parts() {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const imported = Object.keys(dependencies).filter(name => !building.includes(name))
  const runScript = readFileSync(join(root, 'scripts/gpu-run.sh'), 'utf8')
  const tests = [...runScript.matchAll(/dist\/test\/[\w/-]+\.test\.js/g)].map(([name]) => name)
  if (tests.length === 0) throw new Error('scripts/gpu-run.sh names no test')
  const golden = ['group-advantages.json', 'policies', 'policy-loss.json', 'policy-loss-from-logits.json']
  const goldenFiles = golden.map(name => `test/golden/${name}`)
  return {
    'sources of the kernels': filesOf(['native', 'test/emulator', 'CMakeLists.txt']),
    scripts: filesOf(['scripts', 'benchmarks/pytorch/card_peers.py', 'package.json', 'ava.config.js']),
    'compiled tests': filesOf([
      'dist/lib',
      'dist/test/_cases',
      'dist/test/_helpers',
      'dist/test/ops',
      ...tests,
    ]),
    'data of the tests': filesOf(goldenFiles),
    'packages they import': filesOfPackages([...imported, 'ava']),
    'the addon': filesOf(['build/Release/luffy.node']),
  }
}

const begin = performance.now()
const say = text => console.log(`${((performance.now() - begin) / 1e3).toFixed(0).padStart(4)} s  ${text}`)

const inMebibytes = bytes => `${(bytes / mebibyte).toFixed(1)} MiB`
const sizeOf = (files, base = root) =>
  files.reduce((sum, file) => sum + statSync(resolve(base, file)).size, 0)

// Files as one stream of xz. A .xz file may hold several, so that each part's share of the archive is known; only the last
// keeps the two empty blocks that end an archive.
function stream(base, files, { level = 6, ends = false } = {}) {
  const limits = { maxBuffer: 2 ** 30 }
  const tar = execFileSync('tar', ['-b', '1', '-cf', '-', '-C', base, '-T', '-'], {
    ...limits,
    input: files.join('\n'),
  })
  // The filter for machine code, of which Node and the addon are most.
  const code = files.every(file => /(^|\/)node$|\.node$/.test(file)) ? ['--x86'] : []
  const args = ['-T0', ...code, `--lzma2=preset=${level}`]
  return execFileSync('xz', args, { ...limits, input: ends ? tar : tar.subarray(0, -1024) })
}

function run(args, env = {}) {
  execFileSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  })
}

async function pack(target) {
  const reason = missing()
  if (reason) throw new Error(`cases are recorded through the emulated device: ${reason}`)
  const files = parts()
  say('the emulated device')
  await buildPlugin()
  const work = mkdtempSync(join(tmpdir(), 'luffy-gpu-'))
  try {
    const folder = join(work, 'luffy')
    const cases = join(folder, 'cases')
    mkdirSync(cases, { recursive: true })
    say('cases of the tests')
    run(['node_modules/ava/entrypoints/cli.mjs', '--match=exported*', 'dist/test/ops/*.test.js'], {
      LUFFY_EXPORT_CASES: cases,
      LUFFY_TEST_DEVICES: 'emulated',
    })
    const gaps = uncovered(root, cases)
    if (gaps.length > 0) throw new Error(`ops without a case:\n  ${gaps.join('\n  ')}`)
    say('cases of the benchmark')
    run(['dist/benchmarks/card-cases.js', cases])
    for (const file of Object.values(files).flat()) cpSync(join(root, file), join(folder, file))
    copyNode(join(folder, 'node'))
    const commit = execFileSync('git', ['describe', '--always', '--dirty'], {
      cwd: root,
      encoding: 'utf8',
    }).trim()
    writeFileSync(join(folder, 'COMMIT'), `${commit}\n`)
    const table = {
      ...files,
      'cases of the benchmark': filesWith(cases, '.bench'),
      'cases of the tests': filesWith(cases, '.cases'),
      Node: ['node'],
      'its commit': ['COMMIT'],
    }
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, '')
    const sizes = {}
    for (const [name, list] of Object.entries(table)) {
      say(`compressing: ${name}`)
      const names = list.map(file => `luffy/${file}`)
      const part = stream(work, names, { ends: name === 'its commit' })
      appendFileSync(target, part)
      sizes[name] = [list.length, sizeOf(list, folder), part.length]
    }
    printTable(sizes)
    return report(target, commit, sizes)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

const filesWith = (cases, ending) =>
  readdirSync(cases)
    .filter(name => name.endsWith(ending))
    .map(name => `cases/${name}`)

// Without its symbols, a tenth of it.
function copyNode(to) {
  cpSync(process.execPath, to)
  try {
    execFileSync('strip', [to], { stdio: 'ignore' })
    execFileSync(to, ['--version'], { stdio: 'ignore' })
  } catch {
    cpSync(process.execPath, to)
  }
}

// By name: files, bytes, bytes compressed.
function printTable(sizes) {
  console.log(
    `\n${'what'.padEnd(24)} ${'files'.padStart(6)} ${'size'.padStart(10)} ${'compressed'.padStart(10)}`,
  )
  for (const [name, [files, bytes, small]] of Object.entries(sizes)) {
    const columns = [String(files).padStart(6), ...[bytes, small].map(size => inMebibytes(size).padStart(10))]
    console.log(`${name.padEnd(24)} ${columns.join(' ')}`)
  }
  console.log('')
}

const tooLarge = (what, size, limit) => {
  if (size <= limit) return 0
  console.error(
    `${what} take ${inMebibytes(size)}, ${inMebibytes(limit)} at most: leave out what a card does not need`,
  )
  return 1
}

function report(target, commit, sizes) {
  const { size } = statSync(target)
  console.log(`${target}: ${inMebibytes(size)} of ${inMebibytes(most)} at most, commit ${commit}`)
  return tooLarge('the cases', sizes['cases of the tests'][2], most / 2) || tooLarge('all parts', size, most)
}

// Compressed in haste, which takes more than it will.
function list() {
  const sizes = {}
  const add = (name, base, files) => {
    sizes[name] = [files.length, sizeOf(files, base), stream(base, files, { level: 1 }).length]
  }
  for (const [name, files] of Object.entries(parts())) add(name, root, files)
  const work = mkdtempSync(join(tmpdir(), 'luffy-gpu-'))
  try {
    copyNode(join(work, 'node'))
    add('Node', work, ['node'])
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  printTable(sizes)
  const sum = Object.values(sizes).reduce((all, [, , small]) => all + small, 0)
  console.log(`${inMebibytes(sum)} at most, beside the cases; each half may take ${inMebibytes(most / 2)}`)
  return tooLarge('the parts beside the cases', sum, most / 2)
}

const argument = process.argv[2]
try {
  if (argument === '--list') process.exitCode = list()
  else if (argument?.startsWith('-')) {
    console.error('usage: npm run gpu:pack [-- FILE | --list]')
    process.exitCode = 2
  } else process.exitCode = await pack(resolve(argument ?? join(root, 'build/luffy-gpu.tar.xz')))
} catch (error) {
  console.error(`gpu:pack: ${error.message}`)
  process.exitCode = 1
}
