// What launches ask of the device they are for, to choose among ways that give the same result.
#pragma once

#include "../core/cu.cuh"

namespace luffy {
namespace cuda {

inline int device_attribute(cudaDeviceAttr attribute, int otherwise) {
  int device = 0;
  int value = 0;
  const bool known =
      cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess;
  return known ? value : otherwise;
}

inline int64_t multiprocessors() {
  static const int count = device_attribute(cudaDevAttrMultiProcessorCount, 1);
  return count;
}

// Whether blocks can be launched in clusters that read each other's shared memory.
inline bool has_clusters() { return device_attribute(cudaDevAttrClusterLaunch, 0) != 0; }

// The shared memory that a block may have when `blocks` are to be resident on a multiprocessor.
inline int64_t shared_memory_for(int blocks) {
  constexpr int kReservedOfBlock = 1024;
  const int64_t share = device_attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, 0) / blocks - kReservedOfBlock;
  const int64_t most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  return share < most ? share : most;
}

}  // namespace cuda
}  // namespace luffy
