// What luffy_kernel_bench needs of CUDA itself: times by events, a cold cache, the bandwidth of copies.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace luffy::programs {

class DeviceClock {
 public:
  // `flush_bytes` of memory are written before every timed call, so that it finds nothing of its own in the cache.
  DeviceClock(void* stream, size_t flush_bytes);
  DeviceClock(const DeviceClock&) = delete;
  DeviceClock& operator=(const DeviceClock&) = delete;
  ~DeviceClock();

  // Seconds of `call` on the device, `rounds` times, each after a flush. Throws OpError.
  std::vector<double> time(const std::function<void()>& call, int rounds);

  // Bytes read and written per second by a copy of `bytes` within the device, the best of `rounds`.
  double copy_bandwidth(size_t bytes, int rounds);

 private:
  void* stream_;
  void* flush_ = nullptr;
  size_t flush_bytes_;
  void* begin_ = nullptr;
  void* end_ = nullptr;
};

}  // namespace luffy::programs
