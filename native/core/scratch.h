// ScratchArena: temporary memory of one op, on the device. A bump allocator that is reset when the op returns and keeps
// its largest block, so that a steady training step allocates nothing. (On a GPU the op still runs then; the next one
// that takes the same bytes runs after it.)
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "runtime.h"

namespace luffy {

class ScratchArena {
 public:
  explicit ScratchArena(Runtime& runtime) : runtime_(runtime) {}
  ScratchArena(const ScratchArena&) = delete;
  ScratchArena& operator=(const ScratchArena&) = delete;
  ~ScratchArena();

  // 64-byte aligned device memory, uninitialised; throws OutOfMemory.
  void* take(size_t bytes);

  // A point to go back to: release(mark) forgets what was taken after mark(), for an op that calls others in a loop.
  struct Mark {
    size_t blocks;
    size_t used;
  };
  Mark mark() const { return {blocks_.size(), used_}; }
  void release(Mark mark);

  // Forgets what was taken. If one op needed several blocks, they become one.
  void reset();

  // Bytes held from the system.
  size_t held() const { return held_.load(std::memory_order_relaxed); }
  // Frees what is held (between ops).
  void trim();

 private:
  struct Block {
    void* data;
    size_t bytes;
  };
  void add_block(size_t bytes);
  void drop_block();

  Runtime& runtime_;
  std::vector<Block> blocks_;
  size_t used_ = 0;  // in the last block
  std::atomic<size_t> held_{0};
};

}  // namespace luffy
