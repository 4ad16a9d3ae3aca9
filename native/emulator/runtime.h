// Inside the emulated runtime: allocations and streams.
#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include "machine.h"

// In lazy mode (EMULATOR_STREAMS=lazy) work waits here until something waits for it, as late as a device may run it.
struct CUstream_st {
  int device = 0;
  std::deque<std::function<void()>> work;
  uint64_t enqueued = 0, done = 0;
  bool blocking = true;  // takes part in the order of the null stream
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  uint64_t ticket = 0;
  bool recorded = false;
  double seconds = 0;
};

namespace emulator {

enum class Place { device, pinned };
struct Allocation {
  size_t bytes;
  Place place;
};

std::recursive_mutex& runtime_mutex();
#define LUFFY_RUNTIME_LOCK const std::lock_guard<std::recursive_mutex> lock(::emulator::runtime_mutex())

// allocations.cpp
cudaError_t allocate(void** out, size_t bytes, Place place);
cudaError_t release(void* pointer, Place place);
// The live allocation that holds [pointer, pointer + bytes), or null; `reason` says why not.
const Allocation* find_allocation(const void* pointer, size_t bytes, const char** reason);
cudaError_t copy_memory(void* target, const void* source, size_t bytes, cudaMemcpyKind kind);
cudaError_t check_copy(const void* target, const void* source, size_t bytes, cudaMemcpyKind* kind);
cudaError_t set_memory(void* target, int value, size_t bytes);
size_t free_memory();
size_t total_memory();
bool is_pinned(const void* pointer);

// runtime.cpp. EMULATOR_DEVICES: how many there are, one unless it says; all share their memory.
int device_count();
// That of this thread.
int current_device();
// EMULATOR_ARCH=80 (default), 90, 120: what the device says of itself.
int architecture();
// Bytes that one block may have.
int most_shared_memory();

// injection.cpp: what tests ask of the runtime by environment variables.
// A line in the file that EMULATOR_CALLS names, for every call that allocates, frees, copies, waits or launches.
void note_call(const char* format, ...) __attribute__((format(printf, 1, 2)));
// EMULATOR_FAULT=KERNEL[:N[:illegal]]: the Nth launch (the first) of a kernel whose name contains KERNEL writes to
// address 16, or ends with cudaErrorIllegalAddress without having run. Returns whether it is this launch.
bool inject_fault(Call& call);

// streams.cpp
void enqueue(cudaStream_t stream, std::function<void()> work);
void drain(cudaStream_t stream, uint64_t ticket = ~uint64_t{0});
void drain_all();
bool lazy_streams();
cudaError_t sticky_error();
// Remembers `error` for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t error);

}  // namespace emulator
