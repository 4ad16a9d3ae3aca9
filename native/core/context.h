// Context: what a kernel may use besides its arguments. One per device, used by its stream thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fault.h"
#include "macros.h"

namespace luffy {

class ThreadPool;
class ScratchArena;
namespace cuda {
class CublasLt;
}

class Context {
 public:
  Context(ThreadPool& pool, ScratchArena& arena) : pool_(pool), arena_(arena) {}

  // Number of threads that `run` may use, the calling one included.
  int threads() const;

  // Calls body(argument, index, thread) for every index in [0, count), on threads() threads; returns when all are
  // done. Which thread takes an index is not fixed, so an index must write what no other index writes: then the
  // bytes do not depend on the number of threads. A body that throws: the first exception is rethrown here.
  void run(int64_t count, void (*body)(void* argument, int64_t index, int thread), void* argument);

  // `bytes` of 64-byte aligned, uninitialised memory, valid until the op returns. Call it outside `run`.
  void* scratch_bytes(size_t bytes);

  template <class T>
  LUFFY_INLINE T* scratch(int64_t count) {
    return static_cast<T*>(scratch_bytes(static_cast<size_t>(count) * sizeof(T)));
  }

  // Gives back what was taken after the mark: for an op that calls other ops in a loop.
  struct ScratchMark {
    size_t blocks;
    size_t used;
  };
  ScratchMark scratch_mark() const;
  void scratch_release(ScratchMark mark);

  // The device's stream on a backend that has one (cudaStream_t); null on the CPU.
  void* stream = nullptr;

  // The library that takes products of bfloat16 from the backend's own kernel, or null.
  cuda::CublasLt* cublaslt = nullptr;

  // Where kernels leave what they find wrong in arrays (null on the CPU), and the number of the running op.
  FaultRecord* faults = nullptr;
  uint64_t sequence = 0;
  // The sink of an op; inside an op that runs others on parts of its rows, that op's own.
  FaultSink fault_sink(FaultOp op) const {
    if (outer_faults != nullptr) return *outer_faults;
    return {faults, sequence, 0, op};
  }
  const FaultSink* outer_faults = nullptr;

 private:
  ThreadPool& pool_;
  ScratchArena& arena_;
};

// parallel_for(context, count, [&](int64_t index, int thread) { ... }): Context::run with a lambda.
template <class Body>
LUFFY_INLINE void parallel_for(Context& context, int64_t count, Body&& body) {
  struct Call {
    static void run(void* argument, int64_t index, int thread) {
      (*static_cast<typename std::remove_reference<Body>::type*>(argument))(index, thread);
    }
  };
  context.run(count, &Call::run, &body);
}

}  // namespace luffy
