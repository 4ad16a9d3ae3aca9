#include "bench-device.h"

#include <algorithm>

#include "../core/cu.cuh"

namespace luffy::programs {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) fail("%s: %s", what, cudaGetErrorString(error));
}
cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

void* make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "creating an event");
  return event;
}

}  // namespace

DeviceClock::DeviceClock(void* stream, size_t flush_bytes) : stream_(stream), flush_bytes_(flush_bytes) {
  check(cudaMalloc(&flush_, flush_bytes), "allocating the memory of a flush");
  begin_ = make_event();
  end_ = make_event();
}

DeviceClock::~DeviceClock() {
  cudaStreamSynchronize(stream_of(stream_));
  cudaEventDestroy(event_of(begin_));
  cudaEventDestroy(event_of(end_));
  cudaFree(flush_);
}

std::vector<double> DeviceClock::time(const std::function<void()>& call, int rounds) {
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    check(cudaMemsetAsync(flush_, i & 255, flush_bytes_, stream_of(stream_)), "flushing");
    check(cudaEventRecord(event_of(begin_), stream_of(stream_)), "recording an event");
    call();
    check(cudaEventRecord(event_of(end_), stream_of(stream_)), "recording an event");
    check(cudaEventSynchronize(event_of(end_)), "waiting for an event");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_of(begin_), event_of(end_)), "reading a time");
    seconds.push_back(static_cast<double>(milliseconds) / 1e3);
  }
  return seconds;
}

double DeviceClock::copy_bandwidth(size_t bytes, int rounds) {
  void* from = nullptr;
  void* to = nullptr;
  check(cudaMalloc(&from, bytes), "allocating");
  check(cudaMalloc(&to, bytes), "allocating");
  check(cudaMemsetAsync(from, 1, bytes, stream_of(stream_)), "filling");
  const std::vector<double> seconds =
      time([&] { check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream_)), "copying"); },
           rounds);
  cudaFree(from);
  cudaFree(to);
  return 2.0 * static_cast<double>(bytes) / *std::min_element(seconds.begin(), seconds.end());
}

}  // namespace luffy::programs
