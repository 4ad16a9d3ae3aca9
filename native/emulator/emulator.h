// What a kernel compiled by g++ sees of the emulator: its thread, barriers, warp collectives, shared memory, copies
// and counters. Kernels reach it through `native/core/cu.cuh` alone. Test-only: no shipped file includes this.
#pragma once

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cstddef>
#include <cstdint>

namespace emulator {

// Where in a source file something was called: as a default argument, here() is the caller's line.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};
#define LUFFY_HERE ::emulator::Site::here()

struct Block;

// The part of a CUDA thread that kernels read.
struct KernelThread {
  uint3 thread_index;
  uint3 block_index;
  dim3 block_size;
  dim3 grid_size;
  unsigned rank;  // within the block, x fastest
  unsigned cluster_rank;
  unsigned cluster_size;
  Block* block;
};

// The thread that runs now. Null outside kernels.
extern KernelThread* current;
// Whether traffic is counted (EMULATOR_TRACE=1, or a file that gets a line of JSON for every launch).
extern bool tracing;

// The file's name without its folders.
const char* short_name(Site site);
// Names the broken rule with kernel, block and thread, fails the launch and leaves the kernel for good.
[[noreturn]] void kernel_error(const char* format, ...) __attribute__((format(printf, 1, 2)));

enum class Vote { none, any, all, count };
// A barrier of `count` threads of the block (0: all of them); returns the vote over `value`.
int barrier(int id, unsigned count, Vote vote, int value, Site site);
void cluster_barrier(Site site);

// Called by every lane of `mask` with its own data; the last to come runs `combine` over all of them.
enum class Collective { sync, shuffle, ballot, match, reduce, mma, ldmatrix };
using Combine = void (*)(void* const lanes[32], uint32_t mask);
void collective(Collective kind, uint32_t mask, void* mine, Combine combine, Site site);

uint32_t active_lane();
uint32_t ballot(uint32_t mask, bool predicate, Site site);
enum class Shuffle { index, up, down, exclusive_or };
uint64_t shuffle(Shuffle kind, uint32_t mask, uint64_t value, unsigned operand, unsigned width, Site site);
enum class Reduction { add, minimum, maximum, bit_and, bit_or, bit_xor };
uint32_t reduce(Reduction kind, bool is_signed, uint32_t mask, uint32_t value, Site site);
uint32_t match_any(uint32_t mask, uint64_t value, Site site);

// Lets the other threads run; for loops that wait for memory.
void spin();
// __threadfence and what is built on it, for ThreadSanitizer.
void fence();

// The block's array declared at `site`; poisoned with 0xFF when the block starts.
void* shared_array(size_t bytes, Site site);
void* dynamic_shared();
size_t dynamic_shared_size();
// The same shared address in block `rank` of the cluster.
void* map_shared(const void* pointer, unsigned rank);
void check_cluster_access(const void* pointer, size_t bytes, Site site);
// The same where it may be any memory: whether it is shared memory of the cluster.
bool touches_cluster(const void* pointer, size_t bytes, Site site);

// cp.async: the destination is poisoned now and filled when waited for (EMULATOR_SCHEDULE=random: at any time between).
void copy_async(void* target, const void* source, unsigned bytes, unsigned valid, Site site);
void copy_commit();
void copy_wait(unsigned groups_left);

// Alignment of a wide access, and traffic counters.
void count_access(const void* pointer, unsigned bytes, bool is_store, Site site);
inline void check_access(const void* pointer, unsigned bytes, bool is_store, Site site) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes != 0)
    kernel_error("access of %u bytes at %p is not aligned (%s:%d)", bytes, pointer, short_name(site), site.line);
  if (tracing) count_access(pointer, bytes, is_store, site);
}

// Tensor cores. Fragments as the PTX manual lays them out, in 32-bit words.
void ldmatrix(uint32_t* out, int count, bool transposed, const void* row, Site site);
enum class MmaInput { bf16, tf32 };
void mma_m16n8(MmaInput input, float* d, const uint32_t* a, const uint32_t* b, const float* c, Site site);

// Traffic of one kernel since the last reset, summed over its launches. Lanes of a warp that ask for the same address
// count once.
struct Traffic {
  uint64_t load_bytes, load_sectors, store_bytes, store_sectors;
  uint64_t ldmatrix_phases, ldmatrix_extra_phases;
  // Sectors that the same bytes need when nothing is wasted: bytes / 32, rounded up per warp instruction.
  uint64_t load_ideal_sectors, store_ideal_sectors;
  // Bytes that a launch touched at least once, however often.
  uint64_t load_distinct_bytes, store_distinct_bytes;
  uint64_t mma;  // instructions of a warp
};
// The sum over the kernels whose name contains `part`.
Traffic traffic(const char* part);
void reset_traffic();
// Forgets a sticky error, for tests that cause several.
void reset_device();
// Errors named so far, and the text of the last.
unsigned error_count();
const char* last_error();

}  // namespace emulator
