// Finds what a build of the addon needs on this machine, and says how to get what is missing. Runs nothing but
// `--version`. Used by the build and by `luffy doctor`.
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'

// The file that a command name stands for, or null.
export function findCommand(name) {
  const candidates = isAbsolute(name)
    ? [name]
    : (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, name))
  for (const path of candidates) {
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return null
}

function versionOf(path, pattern = /(\d+\.\d+(?:\.\d+)*)/) {
  try {
    const text = execFileSync(path, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 20000,
    })
    return pattern.exec(text)?.[1] ?? 'unknown'
  } catch {
    return null
  }
}

// The first of `names` that is there and answers `--version`: { path, version }, else null.
function findTool(names, pattern) {
  for (const name of names) {
    const path = findCommand(name)
    const version = path && versionOf(path, pattern)
    if (version) return { path, version }
  }
  return null
}

// CUDACXX, CUDA_HOME or CUDA_PATH, the PATH, then /usr/local/cuda*, newest first.
function findNvcc() {
  const folders = [process.env.CUDA_HOME, process.env.CUDA_PATH]
    .filter(Boolean)
    .map(folder => join(folder, 'bin/nvcc'))
  const installed = existsSync('/usr/local')
    ? readdirSync('/usr/local')
        .filter(name => name.startsWith('cuda'))
        .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
        .map(name => `/usr/local/${name}/bin/nvcc`)
    : []
  return findTool(
    [process.env.CUDACXX, ...folders, 'nvcc', ...installed].filter(Boolean),
    /release (\d+\.\d+)/,
  )
}

export function findTools() {
  return {
    compiler: findTool([process.env.CXX, 'c++', 'g++', 'clang++'].filter(Boolean)),
    cmake: findTool(['cmake']),
    make: findTool(['make', 'gmake']),
    ninja: findTool(['ninja']),
    python: findTool(
      [process.env.npm_config_python, process.env.PYTHON, 'python3', 'python'].filter(Boolean),
    ),
    nvcc: findNvcc(),
  }
}

// string(JSON) came with 3.19.
export function cmakeIsUsable(tools) {
  if (!tools.cmake) return false
  const [major = 0, minor = 0] = tools.cmake.version.split('.').map(Number)
  return (major > 3 || (major === 3 && minor >= 19)) && Boolean(tools.make || tools.ninja)
}

function linuxFamily() {
  try {
    const text = readFileSync('/etc/os-release', 'utf8')
    const ids = /^ID(?:_LIKE)?=.*$/gm
    const found = (text.match(ids) ?? []).join(' ')
    if (/alpine/.test(found)) return 'alpine'
    if (/fedora|rhel|centos/.test(found)) return 'fedora'
    if (/arch/.test(found)) return 'arch'
    if (/suse/.test(found)) return 'suse'
    if (/debian|ubuntu/.test(found)) return 'debian'
  } catch {}
  return 'unknown'
}

// The command that installs a compiler, make and CMake here.
export function installToolsCommand() {
  if (process.platform === 'darwin') return 'xcode-select --install && brew install cmake'
  switch (linuxFamily()) {
    case 'debian':
      return 'sudo apt install g++ make cmake python3'
    case 'fedora':
      return 'sudo dnf install gcc-c++ make cmake python3'
    case 'alpine':
      return 'apk add g++ make cmake python3 linux-headers'
    case 'arch':
      return 'sudo pacman -S gcc make cmake python'
    case 'suse':
      return 'sudo zypper install gcc-c++ make cmake python3'
    default:
      return 'install a C++17 compiler, make and CMake 3.19 or newer'
  }
}
