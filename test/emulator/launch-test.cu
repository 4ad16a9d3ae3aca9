// What launch<> asks of CUDA where nvcc compiles it: the emulator has a launch of its own. Built by nvcc and linked to
// launch-runtime.cpp in place of the runtime, which prints what it is asked.
#include <cstdio>
#include <exception>

#include "../../native/core/cu.cuh"

KERNEL(64) two_arguments(int, const float*) {}

int main() {
  const auto stream = reinterpret_cast<cudaStream_t>(0x50);
  const float* const data = reinterpret_cast<const float*>(0x60);
  launch<two_arguments>(Launch(dim3(3, 2, 4), dim3(64, 1, 2)), 7, data);
  launch<two_arguments>(Launch(5, 32, 48 * 1024, stream), 8, data);
  launch<two_arguments>(Launch(5, 32, 48 * 1024 + 16, stream), 9, data);
  launch<two_arguments>(Launch(8, 32, 64, stream).with_cluster(4), 10, data);
  launch<two_arguments>(Launch(8, 32, 0, stream).with_cooperation(), 11, data);
  launch<two_arguments>(Launch(8, 32, 0, stream).with_cluster(2).with_cooperation(), 12, data);
  try {
    launch<two_arguments>(Launch(1, 4096), 13, data);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
  }
  return 0;
}
