// Device: a backend with its memory, its threads and its stream. One per Device.open of an environment.
#pragma once

#include <memory>
#include <string>

#include "context.h"
#include "pool.h"
#include "runtime.h"
#include "scratch.h"
#include "stream.h"
#include "tensor.h"
#include "thread-pool.h"

namespace luffy {

struct OpTable;

// What a backend brings: its ops, their name and its runtime. The CPU has one table of ops per instruction set.
struct Backend {
  const OpTable* ops = nullptr;
  std::string name;  // "cpu", "cuda", "emulated"
  std::string isa;   // "avx512", "avx2", "baseline"; empty on other backends
  std::unique_ptr<Runtime> runtime;
};

class Device {
 public:
  struct Options {
    int threads = 1;
    bool caching = true;  // of the pool
    // No library takes products from the backend's own kernels: a row's bits do not depend on the rows beside it.
    bool deterministic = false;
  };

  Device(Backend backend, Options options);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  // Drops what is queued, cuts the running op short, waits for what was launched and joins the threads. For the end of
  // the environment.
  void stop();

  const Backend& backend() const { return backend_; }
  Runtime& runtime() { return *backend_.runtime; }
  Context& context() { return context_; }
  Stream& stream() { return stream_; }
  Pool& pool() { return pool_; }
  int threads() const { return threads_.threads(); }
  size_t scratch_bytes() const { return arena_.held(); }

  // Gives cached and scratch memory back to the system, in stream order.
  void trim();

 private:
  Backend backend_;
  ThreadPool threads_;
  ScratchArena arena_;
  Context context_;
  Stream stream_;
  Pool pool_;
  void* product_memory_ = nullptr;
  size_t product_bytes_ = 0;
};

// A block of device memory, shared by the tensors that are views of it; freed in stream order with the last of them.
class Storage {
 public:
  Storage(std::shared_ptr<Device> device, size_t bytes);
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  const std::shared_ptr<Device>& device() const { return device_; }

 private:
  std::shared_ptr<Device> device_;
  size_t bytes_;
  void* data_;
};

// What a tensor handle stands for.
struct TensorEntry {
  std::shared_ptr<Storage> storage;
  Tensor view;
};

}  // namespace luffy
