// Pool: a caching allocator for one device.
//
// Because a device's ops run in the order in which they were enqueued, memory released at some point of that order may
// be handed out again at once: whoever gets it enqueues later. Only giving memory back to the system must wait for the
// stream; `defer_free` does that. Used from the JavaScript thread alone.
//
// With caching off (LUFFY_POOL=off) every allocation comes from the system and every release goes back to it, so that
// AddressSanitizer sees each tensor's bounds and lifetime.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <vector>

namespace luffy {

class Pool {
 public:
  struct Source {
    // Memory of the device, 64-byte aligned, or null when there is none.
    std::function<void*(size_t bytes)> allocate;
    // Gives memory back when everything enqueued before is done.
    std::function<void(void* data, size_t bytes)> defer_free;
    // Waits until what was given back is free.
    std::function<void()> wait_for_frees;
    std::function<size_t()> free_memory;
  };

  Pool(Source source, bool caching);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Throws OutOfMemory after trying once more with an empty cache, for which it waits. `bytes` may be 0.
  void* allocate(size_t bytes);
  void release(void* data, size_t bytes);
  // Gives all cached memory back (in stream order).
  void trim();

  size_t live_bytes() const { return live_; }  // asked for and not released
  size_t peak_bytes() const { return peak_; }  // the largest live_bytes() so far
  size_t cached_bytes() const { return cached_; }
  size_t live_blocks() const { return blocks_; }
  void reset_peak() { peak_ = live_; }

  // The size that a request is rounded up to: eight classes per power of two, at most 12.5 % above the request.
  static size_t size_class(size_t bytes);

 private:
  void* from_system(size_t bytes);

  Source source_;
  bool caching_;
  std::map<size_t, std::vector<void*>> free_;  // by size class
  size_t live_ = 0;
  size_t peak_ = 0;
  size_t high_water_ = 0;  // as peak_, since the last trim
  size_t cached_ = 0;
  size_t blocks_ = 0;
};

}  // namespace luffy
