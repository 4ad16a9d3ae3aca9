// Runtime: what a backend brings besides its ops: memory, transfers, and an end to its work. All of it is asked for on
// the device's stream, in order, except `allocate` and `free_memory`, which the JavaScript thread calls too.
#pragma once

#include <cstddef>
#include <string>

namespace luffy {

class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  // At least 64-byte aligned memory of the device, uninitialised, or null when there is none.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* data) = 0;
  // Bytes that may still be had.
  virtual size_t free_memory() = 0;

  // Copies between the device and the host; the host's bytes may be reused, or are there, on return.
  virtual void write(void* to, const void* from, size_t bytes) = 0;
  virtual void read(void* to, const void* from, size_t bytes) = 0;
  // Waits for what was launched; throws OpError for what went wrong in it.
  virtual void finish() = 0;

  // The backend's own stream (cudaStream_t), or null.
  virtual void* stream() = 0;
  // "NVIDIA H100, compute 9.0" or "".
  virtual std::string describe() = 0;
};

}  // namespace luffy
