#include "pool.h"

#include <algorithm>
#include <utility>

#include "check.h"
#include "errors.h"

namespace luffy {

namespace {

constexpr size_t kSmallest = 256;
// The pool holds as much as was ever live at once, and this much more: blocks of sizes that are not asked for again go
// back to the system, and a step that frees its activations finds them again without a page fault.
constexpr size_t kCacheSlack = size_t{64} << 20;

}  // namespace

Pool::Pool(Source source, bool caching) : source_(std::move(source)), caching_(caching) {}

size_t Pool::size_class(size_t bytes) {
  if (bytes <= kSmallest) return kSmallest;
  const int top = 63 - __builtin_clzll(static_cast<unsigned long long>(bytes - 1));
  const size_t step = size_t{1} << (top > 3 ? top - 3 : 0);
  const size_t rounded = (bytes + step - 1) / step * step;
  return (rounded + 63) / 64 * 64;
}

void* Pool::from_system(size_t bytes) {
  void* data = source_.allocate(bytes);
  if (data == nullptr) {
    // The cache is empty then, and so is what ops keep; frees that are queued already are done as well.
    trim();
    source_.wait_for_frees();
    data = source_.allocate(bytes);
  }
  if (data == nullptr) fail_out_of_memory("a tensor", bytes, source_.free_memory());
  return data;
}

void* Pool::allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 4) fail_out_of_memory("a tensor", bytes, source_.free_memory());
  const size_t size = size_class(bytes);
  void* data = nullptr;
  if (caching_) {
    auto found = free_.find(size);
    if (found != free_.end()) {
      data = found->second.back();
      found->second.pop_back();
      cached_ -= size;
      if (found->second.empty()) free_.erase(found);
    }
  }
  if (data == nullptr) data = from_system(size);
  live_ += size;
  blocks_ += 1;
  peak_ = std::max(peak_, live_);
  high_water_ = std::max(high_water_, live_);
  return data;
}

void Pool::release(void* data, size_t bytes) {
  const size_t size = size_class(bytes);
  live_ -= size;
  blocks_ -= 1;
  if (!caching_) {
    source_.defer_free(data, size);
    return;
  }
  free_[size].push_back(data);
  cached_ += size;
  // The largest cached blocks go first: a few of them hold most of the memory.
  while (live_ + cached_ > high_water_ + kCacheSlack) {
    auto largest = std::prev(free_.end());
    source_.defer_free(largest->second.back(), largest->first);
    cached_ -= largest->first;
    largest->second.pop_back();
    if (largest->second.empty()) free_.erase(largest);
  }
}

void Pool::trim() {
  for (auto& [size, blocks] : free_) {
    for (void* data : blocks) source_.defer_free(data, size);
  }
  free_.clear();
  cached_ = 0;
  high_water_ = live_;
}

}  // namespace luffy
