// Inside the emulator: fibers, blocks and the scheduler's state. Never included by kernels.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "emulator.h"
#include "launch.h"

namespace emulator {

enum class State : uint8_t { ready, waiting, finished };

struct PendingCopy {
  char* target;
  const char* source;
  unsigned bytes, valid;
  bool landed;
};

struct Warp;

// One CUDA thread: a stack and where it waits.
struct Fiber : KernelThread {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  size_t stack_size = 0;
  void* entry_stack = nullptr;
  void* sanitizer_stack = nullptr;  // AddressSanitizer's fake stack while switched away
  void* race_fiber = nullptr;       // ThreadSanitizer's
  unsigned stack_id = 0;            // valgrind's
  Warp* warp = nullptr;
  State state = State::ready;
  const char* waits_for = nullptr;
  Site wait_site{};
  int vote_result = 0;
  std::vector<PendingCopy> open_copies;
  std::deque<std::vector<PendingCopy>> copy_groups;
};

struct Barrier {
  unsigned arrived = 0;
  unsigned expected = 0;
  unsigned generation = 0;
  int sum = 0;
  Site site{};
  Fiber* first = nullptr;
  std::vector<Fiber*> waiting;
  char sync_objects[2];
};

struct ActiveCollective {
  uint32_t mask = 0, arrived = 0;
  Collective kind = Collective::sync;
  Site site{};
  unsigned generation = 0;
  Fiber* first = nullptr;
  void* lanes[32];
  char sync_objects[2];
};

struct Warp {
  Fiber* lanes[32] = {};
  uint32_t finished = 0;
  int under_way = 0;  // collectives that some lanes wait at
  ActiveCollective active[32];
};

struct SharedArray {
  Site site;
  size_t bytes;
  char* memory;
};

struct Block {
  uint3 index;
  std::vector<Fiber*> fibers;
  std::vector<Warp> warps;
  Barrier barriers[16];
  std::vector<SharedArray> arrays;
  char* dynamic = nullptr;
  size_t dynamic_bytes = 0;
  char* ptx_window = nullptr;  // leg B: static arrays, then dynamic memory, in one piece
  size_t ptx_window_bytes = 0;
  unsigned finished = 0;
  Fiber* first_finished = nullptr;
  struct Gang* gang = nullptr;
};

// Blocks that run together: one, a cluster, or a cooperative grid.
struct Gang {
  std::vector<Block*> blocks;
  Barrier cluster_barrier;
};

struct Grid {
  const Shape* shape;
  const Call* call;
  void** arguments;
  void (*ptx)(void** arguments);
  size_t ptx_static_bytes;
  bool failed;
};
extern Grid* grid;

enum class Schedule { fifo, lifo, reverse, random };
extern Schedule schedule;
uint64_t random_number();
inline Fiber* self() { return static_cast<Fiber*>(current); }

// fiber.cpp
void prepare_fiber(Fiber* fiber);
void release_fibers();
void switch_from_main(Fiber* next);
void switch_fiber(Fiber* from, Fiber* to);
[[noreturn]] void leave_to_main(Fiber* from);
void switch_to_main(Fiber* from);
void run_fiber_body();  // scheduler.cpp
// Keeps ThreadSanitizer from looking at what the runtime itself does.
struct RuntimeScope {
  RuntimeScope();
  ~RuntimeScope();
};
void race_release(void* object);
void race_acquire(void* object);
void race_write(const void* pointer, size_t bytes);
void race_read(const void* pointer, size_t bytes);
bool race_detection();
bool address_sanitizer();
void sanitizer_check_write(void* pointer, size_t bytes);
void sanitizer_check_read(const void* pointer, size_t bytes);
void set_poisoned(void* pointer, size_t bytes, bool poisoned);
void mark_undefined(void* pointer, size_t bytes);
void install_fault_handler();
void restore_fault_handler();
extern bool fault_seen;

// scheduler.cpp
void run_grid(const Shape& shape, const Call& call);

// memory.cpp
char* take_shared(size_t bytes);
void give_back_shared(bool launch_ends);
// Whether it is shared memory of the block that runs.
bool is_shared(const void* pointer);
void land_all_copies(Fiber* fiber);
void open_device_memory();
bool close_device_memory(const char* kernel);
void forget_copies(Fiber* fiber);

// traffic.cpp
void count_phases(unsigned all, unsigned extra);
void count_mma();
void flush_traffic();
void end_traffic(const Shape& shape, const char* kernel);

// runtime.cpp
void report(const char* format, ...) __attribute__((format(printf, 1, 2)));
void set_sticky_error(cudaError_t error);

// Leg B: translated kernels by the address of their host twin.
struct PtxKernel {
  void (*run)(void** arguments);
  size_t static_shared_bytes;
};
const PtxKernel* find_ptx_kernel(const void* kernel);
bool ptx_leg();

}  // namespace emulator
