// What the test programs of kernels share, on whatever runs CUDA, the emulator or a card: memory on the device, a hash of
// every bit that comes back, counts of cases, and the last line, which test/emulator/_programs.ts reads.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <vector>

#include "../../native/core/cu.cuh"

namespace cases {

inline uint64_t hash = 1469598103934665603ull;
inline int count = 0, failures = 0;

inline void add_to_hash(const void* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211ull;
}

inline void check(cudaError_t error) {
  if (error != cudaSuccess) luffy::fail("%s", cudaGetErrorString(error));
}

// Elements on the device after `lead` others and before eight, all of which begin as bytes of 0xff: NaN.
template <class T>
struct Array {
  std::vector<T> host;
  T* device = nullptr;
  int64_t lead;
  explicit Array(int64_t size, int64_t offset = 0) : host(static_cast<size_t>(size + offset + 8)), lead(offset) {
    std::memset(static_cast<void*>(host.data()), 0xff, host.size() * sizeof(T));
    check(cudaMalloc(reinterpret_cast<void**>(&device), host.size() * sizeof(T)));
  }
  Array(const Array&) = delete;
  ~Array() { cudaFree(device); }
  T& at(int64_t i) { return host[static_cast<size_t>(lead + i)]; }
  const T& at(int64_t i) const { return host[static_cast<size_t>(lead + i)]; }
  T* data() { return device + lead; }
  T* written() {
    check(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    return data();
  }
  void read() { check(cudaMemcpy(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost)); }
  void read_to_hash() {
    read();
    add_to_hash(host.data(), host.size() * sizeof(T));
  }
};

// The end of a case's line: what these kernels read by ldmatrix, and the conflicts of banks, where they are counted.
inline void print_matrices(std::initializer_list<const char*> kernels) {
#ifndef __CUDACC__
  if (emulator::tracing) {
    for (const char* kernel : kernels) {
      const emulator::Traffic t = emulator::traffic(kernel);
      std::printf(", matrices %llu, conflicts %llu", static_cast<unsigned long long>(t.ldmatrix_phases),
                  static_cast<unsigned long long>(t.ldmatrix_extra_phases));
    }
    emulator::reset_traffic();
  }
#else
  static_cast<void>(kernels);
#endif
  std::printf("\n");
}

// main: body(tiny), where `tiny` as the only argument asks for what ThreadSanitizer can hold.
template <class Body>
int run(int argc, char** argv, Body&& body) {
  try {
    body(argc > 1 && std::strcmp(argv[1], "tiny") == 0);
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 4;
  }
  std::printf("%d cases, %d failed, hash %016llx\n", count, failures, static_cast<unsigned long long>(hash));
  return failures == 0 && count > 0 ? 0 : 1;
}

}  // namespace cases
