// ScratchArena: temporary memory of one op. A bump allocator that is reset when the op returns and keeps its largest
// block, so that a steady training step allocates nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

namespace luffy {

class ScratchArena {
 public:
  ScratchArena() = default;
  ScratchArena(const ScratchArena&) = delete;
  ScratchArena& operator=(const ScratchArena&) = delete;
  ~ScratchArena();

  // 64-byte aligned, uninitialised; throws OutOfMemory.
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

  std::vector<Block> blocks_;
  size_t used_ = 0;  // in the last block
  std::atomic<size_t> held_{0};
};

}  // namespace luffy
