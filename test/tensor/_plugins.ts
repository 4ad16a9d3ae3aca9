// Plugins that no build makes: ones that crash, end the process, talk, or come from another build.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const bodies = {
  crashing: '*reinterpret_cast<volatile int*>(16) = 1; return nullptr;',
  ending: '_exit(9);',
  // As a driver that prints and then ends the process with success.
  talking: 'std::puts("hello"); std::fflush(stdout); _exit(0);',
  other: 'static const struct { int version; size_t table, context; } plugin{999, 8, 8}; return &plugin;',
} as const

export type FakePlugin = keyof typeof bodies

/** Compiles one into `folder` and returns its path. */
export function makePlugin(folder: string, kind: FakePlugin): string {
  const source = join(folder, `${kind}.cpp`)
  const library = join(folder, `${kind}.so`)
  writeFileSync(
    source,
    `#include <unistd.h>\n#include <cstddef>\n#include <cstdio>\nextern "C" const void* luffy_plugin() { ${bodies[kind]} }\n`,
  )
  execFileSync('g++', ['-shared', '-fPIC', '-w', '-std=c++17', source, '-o', library])
  return library
}
