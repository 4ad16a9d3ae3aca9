// The zoo: kernels with one seeded bug each, and controls without. `zoo NAME` runs one; test/emulator/_zoo.ts says which
// mode must report what.
#pragma once

#include <cmath>
#include <cstdio>
#include <vector>

#include "../../native/core/cu.cuh"

struct Animal {
  const char* name;
  bool (*run)();  // whether the values are right
  Animal* next;
  static Animal*& first() {
    static Animal* head = nullptr;
    return head;
  }
  Animal(const char* animal_name, bool (*body)()) : name(animal_name), run(body), next(first()) { first() = this; }
};
#define ZOO(id, name)                                 \
  static bool run_##id();                             \
  static const Animal animal_##id(name, run_##id);    \
  static bool run_##id()

// A device array filled from `make(i)`, freed at the end of the scope.
template <class T>
struct Array {
  T* data = nullptr;
  size_t size;
  template <class F>
  Array(size_t n, F make) : size(n) {
    std::vector<T> host(n);
    for (size_t i = 0; i < n; ++i) host[i] = make(i);
    check(cudaMalloc(reinterpret_cast<void**>(&data), n * sizeof(T)));
    check(cudaMemcpy(data, host.data(), n * sizeof(T), cudaMemcpyHostToDevice));
  }
  explicit Array(size_t n) : size(n) { check(cudaMalloc(reinterpret_cast<void**>(&data), n * sizeof(T))); }
  Array(const Array&) = delete;
  ~Array() { cudaFree(data); }
  std::vector<T> read() const {
    std::vector<T> host(size);
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(host.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
  static void check(cudaError_t error) {
    if (error != cudaSuccess) luffy::fail("%s", cudaGetErrorString(error));
  }
};

template <class T, class F>
bool equals(const std::vector<T>& got, F expected) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double want = static_cast<double>(expected(i)), have = static_cast<double>(got[i]);
    if (have == want) continue;
    std::printf("element %zu is %g, expected %g\n", i, have, want);
    return false;
  }
  return true;
}
