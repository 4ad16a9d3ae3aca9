// SystemRuntime: the CPU's runtime. Ops are done when they return, and the device's memory is the host's.
#pragma once

#include "runtime.h"

namespace luffy {

class SystemRuntime : public Runtime {
 public:
  void* allocate(size_t bytes) override;
  void release(void* data) override;
  size_t free_memory() override;
  void write(void* to, const void* from, size_t bytes) override;
  void read(void* to, const void* from, size_t bytes) override;
  void finish() override {}
  FaultRecord* faults() override { return nullptr; }
  void* stream() override { return nullptr; }
  std::string describe() override { return ""; }
};

}  // namespace luffy
