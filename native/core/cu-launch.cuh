// launch<kernel>(Launch(grid, block, sharedBytes, stream), arguments...): the only way a kernel is started. It opts in
// to more than 48 KiB of shared memory, sets the cluster, and throws OpError naming the kernel when the launch fails.
#pragma once

#include <cstring>
#include <utility>

#include "check.h"

struct Launch {
  dim3 grid, block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  unsigned cluster = 1;      // blocks along x that share memory; sm_90 and later
  bool cooperative = false;  // all blocks resident at once, for kernels whose blocks wait for each other

  Launch(dim3 grid_size, dim3 block_size, size_t shared = 0, cudaStream_t on = nullptr)
      : grid(grid_size), block(block_size), shared_bytes(shared), stream(on) {}
  Launch with_cluster(unsigned blocks) const {
    Launch copy = *this;
    copy.cluster = blocks;
    return copy;
  }
  Launch with_cooperation() const {
    Launch copy = *this;
    copy.cooperative = true;
    return copy;
  }
};

namespace luffy {
namespace cuda {

// "rms_norm_forward<float>" out of "... [with auto K = rms_norm_forward<float>; A = {...}]".
struct KernelName {
  char text[160];
  explicit KernelName(const char* signature) {
    const char* begin = std::strstr(signature, "K = ");
    begin = begin == nullptr ? signature : begin + 4;
    size_t length = 0;
    while (begin[length] != 0 && begin[length] != ';' && begin[length] != ']' && length + 1 < sizeof text) ++length;
    std::memcpy(text, begin, length);
    text[length] = 0;
  }
};

inline void check_launch(cudaError_t error, const KernelName& name) {
  if (error == cudaSuccess) return;
  fail("launch of %s failed: %s (%s)", name.text, cudaGetErrorString(error), cudaGetErrorName(error));
}

#ifdef __CUDACC__
template <class... P, class... A>
cudaError_t launch_on_device(void (*kernel)(P...), const Launch& how, A&&... arguments) {
  if (how.shared_bytes > 48 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(how.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared_bytes;
  config.stream = how.stream;
  config.attrs = attributes;
  if (how.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = how.cluster;
    attribute.val.clusterDim.y = 1;
    attribute.val.clusterDim.z = 1;
  }
  if (how.cooperative) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, std::forward<A>(arguments)...);
}
#endif

}  // namespace cuda
}  // namespace luffy

template <auto K, class... A>
void launch(const Launch& how, A&&... arguments) {
  static const ::luffy::cuda::KernelName name(__PRETTY_FUNCTION__);
#ifdef __CUDACC__
  ::luffy::cuda::check_launch(::luffy::cuda::launch_on_device(K, how, std::forward<A>(arguments)...), name);
#else
  const ::emulator::Shape shape{how.grid, how.block, how.shared_bytes, how.stream, how.cluster, how.cooperative};
  ::luffy::cuda::check_launch(::emulator::launch(name.text, K, shape, std::forward<A>(arguments)...), name);
#endif
}
