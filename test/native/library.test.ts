// Where a library of NVIDIA's is looked for (native/core/library.h): the file of the variable and no other, what the
// dynamic linker finds, and Python's wheels; versions in their order, and the reason when none is taken.
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { packageRoot } from '../../lib/native-loader.js'
import { temporaryFolder } from '../_helpers/folders.js'

// Prints what was opened, or why nothing was. A library is taken when it has the function that the argument names.
const program = `
#include <cstdio>
#include <dlfcn.h>
#include "native/core/library.h"
int main(int count, char** arguments) {
  luffy::LibrarySearch search{"Thing", "THING_FILE", {"libthing-of-tests.so.13", "libthing-of-tests.so.12"}};
  search.only_named = count > 2;
  std::string taken;
  const std::string reason = luffy::open_library(search, [&](void* library, const std::string& file) -> std::string {
    if (dlsym(library, arguments[1]) == nullptr) return file + " lacks it";
    taken = file;
    return "";
  });
  std::printf("%s\\n", reason.empty() ? taken.c_str() : reason.c_str());
}`

const compile = (args: string[], input: string) =>
  execFileSync('g++', ['-std=c++17', '-x', 'c++', ...args], { input, cwd: packageRoot })

test('files are tried in their order, and the first that is good is taken', async t => {
  if (process.platform !== 'linux') {
    t.pass('Linux alone has such devices')
    return
  }
  const folder = realpathSync(await temporaryFolder(t))
  const find = join(folder, 'find')
  compile(['-', 'native/core/library.cpp', '-I.', '-o', find, '-ldl'], program)
  const [good, bad] = [join(folder, 'good.so'), join(folder, 'bad.so')]
  compile(['-', '-shared', '-fPIC', '-o', good], 'extern "C" int wanted() { return 0; }')
  compile(['-', '-shared', '-fPIC', '-o', bad], 'extern "C" int other() { return 0; }')
  const put = (library: string, ...path: string[]) => {
    const file = join(folder, ...path)
    mkdirSync(dirname(file), { recursive: true })
    copyFileSync(library, file)
    return file
  }
  const run = (env: Record<string, string>, ...args: string[]) =>
    execFileSync(find, ['wanted', ...args], { encoding: 'utf8', env }).trim()

  const absent = 'Thing was not found (THING_FILE names its file)'
  t.is(run({ HOME: folder }), absent)
  const user = put(good, '.local/lib/python3.11/site-packages/nvidia/cublas/lib/libthing-of-tests.so.12')
  t.is(run({ HOME: folder }), user)
  const conda = put(good, 'conda/lib/libthing-of-tests.so.12')
  const env = { HOME: folder, CONDA_PREFIX: join(folder, 'conda'), VIRTUAL_ENV: join(folder, 'venv') }
  t.is(run(env), conda)
  // The newer version first, wherever it is; of Pythons the newest.
  put(good, 'venv/lib/python3.9/site-packages/nvidia/cu13/lib/libthing-of-tests.so.13')
  const newer = put(good, 'venv/lib/python3.12/site-packages/nvidia/cu13/lib/libthing-of-tests.so.13')
  t.is(run(env), newer)
  // One that is not taken: the search goes on, and its reason is told when nothing else is there.
  const refused = put(bad, 'linked/libthing-of-tests.so.13')
  t.is(run({ ...env, LD_LIBRARY_PATH: join(folder, 'linked') }), newer)
  t.is(run({ LD_LIBRARY_PATH: join(folder, 'linked') }), `${refused} lacks it`)
  t.is(run({ LD_LIBRARY_PATH: join(folder, 'conda/lib') }), conda)
  // What the variable names is all that is tried.
  t.is(run({ ...env, THING_FILE: good }), good)
  t.is(run({ ...env, THING_FILE: bad }), `${bad} lacks it`)
  const text = join(folder, 'text.so')
  writeFileSync(text, 'no library')
  t.regex(run({ ...env, THING_FILE: text }), /text\.so: .*(invalid ELF header|file too short)/)
  t.regex(run({ ...env, THING_FILE: '/nowhere.so' }), /nowhere\.so: cannot open/)
  // A pipe would be waited for.
  const pipe = join(folder, 'pipe.so')
  execFileSync('mkfifo', [pipe])
  t.is(run({ ...env, THING_FILE: pipe }), `${pipe}: not a regular file`)
  t.is(run({ ...env, THING_FILE: folder }), `${folder}: not a regular file`)
  t.is(run(env, 'only-named'), absent)
  t.is(run({ ...env, THING_FILE: good }, 'only-named'), good)
})
