// Runtime: what a backend brings besides its ops: memory, transfers, and an end to its work. All of it is asked for on
// the device's stream, in order, except `allocate` and `free_memory`, which the JavaScript thread calls too.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "fault.h"

namespace luffy {

class Context;

// A library of the machine's that takes products from a backend: where it was found, and why it is not used (empty: it is).
struct ProductLibrary {
  std::string file, version, reason;
};

class Runtime {
 public:
  Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  // At least 64-byte aligned memory of the device, uninitialised, or null when there is none. Throws DeviceFailure when
  // the device failed before.
  virtual void* allocate(size_t bytes) = 0;
  // Never throws, whatever became of the device.
  virtual void release(void* data) = 0;
  // Bytes that may still be had.
  virtual size_t free_memory() = 0;

  // Copies between the device and the host; the host's bytes may be reused, or are there, on return. `read` waits, and
  // throws as finish() does.
  virtual void write(void* to, const void* from, size_t bytes) = 0;
  virtual void read(void* to, const void* from, size_t bytes) = 0;
  // Waits for what was launched. Throws FaultError for what kernels found wrong in their arguments, DeviceFailure for a
  // kernel that failed.
  virtual void finish() = 0;

  // Makes the device the one that calls of this thread go to: called before every task of the stream's thread.
  virtual void select() {}

  // Where kernels leave what they find wrong, or null.
  virtual FaultRecord* faults() = 0;

  // The backend's own stream (cudaStream_t), or null.
  virtual void* stream() = 0;
  // "NVIDIA H100, compute 9.0" or "".
  virtual std::string describe() = 0;

  // Opens the library of products, if the backend knows one, and tries it before anything else is launched; the context
  // then has it. `take` gives memory of the device for as long as the library is there, or null.
  virtual void open_products(Context&, const std::function<void*(size_t bytes)>& take) { (void)take; }
  // What became of it, asked for by any thread; all of it is empty on a backend that knows none.
  virtual ProductLibrary products() { return {}; }
};

}  // namespace luffy
