#include "scratch.h"

#include <cstdint>

#include "check.h"

namespace luffy {

namespace {
constexpr size_t kAlignment = 256;
constexpr size_t kSmallestBlock = size_t{1} << 20;
}  // namespace

ScratchArena::~ScratchArena() { trim(); }

void ScratchArena::trim() {
  for (const Block& block : blocks_) runtime_.release(block.data);
  blocks_.clear();
  used_ = 0;
  held_ = 0;
}

void ScratchArena::add_block(size_t bytes) {
  void* data = runtime_.allocate(bytes);
  if (data == nullptr) fail_out_of_memory("scratch memory of an op", bytes, runtime_.free_memory());
  blocks_.push_back({data, bytes});
  held_ += bytes;
  used_ = 0;
}

void ScratchArena::drop_block() {
  held_ -= blocks_.back().bytes;
  runtime_.release(blocks_.back().data);
  blocks_.pop_back();
}

void* ScratchArena::take(size_t bytes) {
  if (bytes > SIZE_MAX / 2) fail_out_of_memory("scratch memory of an op", bytes, runtime_.free_memory());
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (blocks_.empty() || blocks_.back().bytes - used_ < bytes) {
    if (!blocks_.empty() && used_ == 0) drop_block();  // nothing in it: a larger one replaces it
    add_block(bytes > kSmallestBlock ? bytes : kSmallestBlock);
  }
  void* data = static_cast<char*>(blocks_.back().data) + used_;
  used_ += bytes;
  return data;
}

void ScratchArena::release(Mark mark) {
  if (blocks_.size() == mark.blocks) {
    used_ = mark.used;
    return;
  }
  // Blocks were added since: from now on this space is taken from one block as large as all of them.
  used_ = 0;
  if (blocks_.size() == mark.blocks + 1) return;
  size_t total = 0;
  while (blocks_.size() > mark.blocks) {
    total += blocks_.back().bytes;
    drop_block();
  }
  add_block(total);
}

void ScratchArena::reset() {
  used_ = 0;
  if (blocks_.size() < 2) return;
  const size_t total = held();
  trim();
  add_block(total);
}

}  // namespace luffy
