// Which mode must report what about each seeded bug of zoo-*.cu. A mode that is not named may miss it.

/**
 * plain: values and named errors under four schedules (one suffices). asan: AddressSanitizer and
 * UndefinedBehaviorSanitizer. tsan: races. valgrind: uninitialised memory. lazy: work runs when waited for. trace:
 * traffic. leaks: what was never freed. ptx: leg B. ptxTsan: leg B's races.
 */
export type Mode = 'plain' | 'asan' | 'tsan' | 'valgrind' | 'lazy' | 'trace' | 'leaks' | 'ptx' | 'ptxTsan'

export type Bugs = Readonly<Record<string, Partial<Record<Mode, RegExp>>>>

const wrong = /wrong value/
const notANumber = /is -?nan.*\n.*wrong value/
const race = /ThreadSanitizer: data race/
const overflow = /AddressSanitizer: heap-buffer-overflow/
const everywhere = (pattern: RegExp) => ({ plain: pattern, asan: pattern, tsan: pattern, ptx: pattern })

export const bugs: Bugs = {
  // Threads.
  'missing-barrier-raw': { ...everywhere(notANumber), tsan: race, ptxTsan: race },
  'missing-barrier-war': { ...everywhere(wrong), tsan: race, ptxTsan: race },
  'syncwarp-for-block-barrier': { ...everywhere(notANumber), tsan: race, ptxTsan: race },
  'barrier-at-two-sites': everywhere(
    /divergent block barrier: this thread waits at zoo-threads\.cu:\d+, but thread .* waits at zoo-threads\.cu:\d+/,
  ),
  'barrier-by-half-the-block': everywhere(
    /(left the kernel, but .* waits at the block barrier zoo-threads|block barrier at zoo-threads.*already left)/,
  ),
  'barrier-after-early-exit': everywhere(
    /(left the kernel, but .* waits at the block barrier zoo-threads|block barrier at zoo-threads.*already left)/,
  ),
  'shuffle-in-divergent-code': everywhere(
    /divergent warp: shuffle at zoo-threads\.cu:\d+ .*waits at the shuffle of zoo-threads\.cu:\d+/,
  ),
  'shuffle-with-exited-lanes': everywhere(
    /(left the kernel, but .* waits for it at the shuffle|lanes \w+ have already left)/,
  ),
  'shuffle-source-outside-the-mask': everywhere(
    /shuffle at zoo-threads\.cu:\d+ reads lane \d+, which mask 0000ffff does not name/,
  ),
  'shuffle-as-memory-barrier': { tsan: race, ptxTsan: race },
  // nvcc folds the constant, and with it the race.
  'write-write-race': { tsan: race },
  'global-race-in-a-block': { tsan: race, ptxTsan: race },
  'global-race-between-blocks': { tsan: race, ptxTsan: race },
  'ticket-without-threadfence': { tsan: race, ptxTsan: race },
  'wait-that-never-ends': everywhere(/a wait for memory never ends/),
  'cluster-block-leaves-too-early': {
    plain: /shared memory used at zoo-threads\.cu:\d+ after threads of it left the kernel/,
  },

  // Memory.
  'shared-static-one-past-the-end': { plain: notANumber, asan: overflow, ptx: /4 bytes at shared address/ },
  'shared-dynamic-one-past-the-end': { plain: notANumber, asan: overflow, ptx: /4 bytes at shared address/ },
  'shared-write-past-the-end': {
    plain: /wrote past the end of a shared array of 256 bytes/,
    asan: overflow,
    ptx: /4 bytes at shared address/,
  },
  'global-read-past-the-end': { plain: notANumber, asan: overflow, ptx: notANumber },
  'global-write-past-the-end': {
    plain: /global_write_over wrote outside an allocation of 256 bytes/,
    asan: overflow,
    ptx: /wrote outside an allocation of 256 bytes/,
  },
  'misaligned-float4': {
    asan: /zoo-memory\.cu:\d+:\d+: runtime error: .*misaligned address/,
    ptx: /is not aligned/,
  },
  'misaligned-ld128': everywhere(/access of 16 bytes at \w+ is not aligned \(zoo-memory\.cu:\d+\)/),
  'wild-shared-index': { plain: /illegal memory access at 0x/, asan: /AddressSanitizer: (SEGV|heap)/ },
  'uninitialised-shared-sum': {
    plain: notANumber,
    asan: notANumber,
    valgrind: /depends on uninitialised value/,
    ptx: notANumber,
  },
  'uninitialised-shared-max': { valgrind: /depends on uninitialised value/ },
  'uninitialised-local-array': { valgrind: /depends on uninitialised value/ },
  'cp-async-read-before-wait': everywhere(notANumber),
  'cp-async-waits-for-one-group-too-few': everywhere(notANumber),
  'cp-async-wait-without-barrier': { plain: notANumber, tsan: race, ptxTsan: race },
  'cp-async-misaligned': everywhere(/(cp\.async|shared access) of 16 bytes .* is not aligned/),
  'ldmatrix-misaligned-row': everywhere(/(is not a multiple of 16|is not aligned \(zoo-memory)/),
  'shared-memory-without-swizzle': { trace: /ldmatrix: 16 phases, 112 extra/ },
  'uncoalesced-loads': { trace: /loads: 512 bytes, 128 sectors, 16 needed/ },
  'swapped-mma-operands': { ptx: wrong },

  // Host.
  'host-pointer-to-kernel': everywhere(/add_one: argument 1, \w+, is a host pointer/),
  'freed-pointer-to-kernel': {
    plain: /add_one: argument 1, \w+, points into freed memory/,
    asan: /add_one: argument 1, \w+, points into freed memory/,
  },
  'host-pointer-in-a-struct': { plain: /scale_by: argument 1, \w+, is a host pointer/ },
  'copy-longer-than-its-target': everywhere(
    /copy of 132 bytes: the target \w+ passes the end of its allocation/,
  ),
  'copy-of-the-wrong-kind': everywhere(/the source \w+ is a host pointer/),
  'host-reads-device-memory': { asan: /AddressSanitizer: use-after-poison/ },
  'async-copy-without-wait': { lazy: notANumber },
  'streams-without-event': { lazy: notANumber },
  'double-free': everywhere(/cudaFree of \w+, which is no live allocation/),
  'leaked-allocation': { leaks: /leak: 128 bytes in 1 allocations/ },
  'block-of-too-many-threads': everywhere(/the block has no or too many threads/),
}
