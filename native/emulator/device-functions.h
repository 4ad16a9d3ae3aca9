// CUDA's own device functions for kernels that g++ compiles: the names and meanings of the CUDA C++ guide.
// Only what kernels here use; a missing one is a compile error.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>

#include "emulator.h"

#define threadIdx (::emulator::current->thread_index)
#define blockIdx (::emulator::current->block_index)
#define blockDim (::emulator::current->block_size)
#define gridDim (::emulator::current->grid_size)
#define warpSize 32
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

using ::emulator::Site;

inline void __syncthreads(Site site = LUFFY_HERE) { ::emulator::barrier(0, 0, ::emulator::Vote::none, 0, site); }
inline int __syncthreads_or(int value, Site site = LUFFY_HERE) {
  return ::emulator::barrier(0, 0, ::emulator::Vote::any, value, site);
}
inline int __syncthreads_and(int value, Site site = LUFFY_HERE) {
  return ::emulator::barrier(0, 0, ::emulator::Vote::all, value, site);
}
inline int __syncthreads_count(int value, Site site = LUFFY_HERE) {
  return ::emulator::barrier(0, 0, ::emulator::Vote::count, value, site);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, Site site = LUFFY_HERE) {
  ::emulator::collective(::emulator::Collective::sync, mask, nullptr, nullptr, site);
}
inline void __threadfence() { ::emulator::fence(); }
inline void __threadfence_block() { ::emulator::fence(); }

template <class T>
inline T emulated_shuffle(::emulator::Shuffle kind, uint32_t mask, T value, unsigned operand, int width, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = ::emulator::shuffle(kind, mask, bits, operand, static_cast<unsigned>(width), site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
inline T __shfl_sync(uint32_t mask, T value, int lane, int width = 32, Site site = LUFFY_HERE) {
  return emulated_shuffle(::emulator::Shuffle::index, mask, value, static_cast<unsigned>(lane), width, site);
}
template <class T>
inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, Site site = LUFFY_HERE) {
  return emulated_shuffle(::emulator::Shuffle::up, mask, value, delta, width, site);
}
template <class T>
inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, Site site = LUFFY_HERE) {
  return emulated_shuffle(::emulator::Shuffle::down, mask, value, delta, width, site);
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T value, int lanes, int width = 32, Site site = LUFFY_HERE) {
  return emulated_shuffle(::emulator::Shuffle::exclusive_or, mask, value, static_cast<unsigned>(lanes), width, site);
}
inline uint32_t __ballot_sync(uint32_t mask, int predicate, Site site = LUFFY_HERE) {
  return ::emulator::ballot(mask, predicate != 0, site);
}
inline int __any_sync(uint32_t mask, int predicate, Site site = LUFFY_HERE) {
  return ::emulator::ballot(mask, predicate != 0, site) != 0;
}
inline int __all_sync(uint32_t mask, int predicate, Site site = LUFFY_HERE) {
  return ::emulator::ballot(mask, predicate != 0, site) == mask;
}
template <class T>
inline uint32_t __match_any_sync(uint32_t mask, T value, Site site = LUFFY_HERE) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return ::emulator::match_any(mask, bits, site);
}
#define LUFFY_REDUCE(name, kind)                                                                          \
  inline unsigned name(uint32_t mask, unsigned value, Site site = LUFFY_HERE) {                           \
    return ::emulator::reduce(::emulator::Reduction::kind, false, mask, value, site);                     \
  }                                                                                                       \
  inline int name(uint32_t mask, int value, Site site = LUFFY_HERE) {                                     \
    return static_cast<int>(                                                                              \
        ::emulator::reduce(::emulator::Reduction::kind, true, mask, static_cast<uint32_t>(value), site)); \
  }
LUFFY_REDUCE(__reduce_add_sync, add)
LUFFY_REDUCE(__reduce_min_sync, minimum)
LUFFY_REDUCE(__reduce_max_sync, maximum)
#undef LUFFY_REDUCE

// Atomics are relaxed, as on a device: they order nothing around them.
template <class T>
inline T atomicAdd(T* address, T value) {
  static_assert(std::is_integral_v<T>, "no atomics on floats: their order changes the sum");
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <class T>
inline T atomicOr(T* address, T value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}
template <class T>
inline T atomicExch(T* address, T value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <class T>
inline T atomicCAS(T* address, T expected, T value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <class T>
inline T atomicMax(T* address, T value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <class T>
inline T atomicMin(T* address, T value) {
  T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

template <class T>
inline T __ldg(const T* address) {
  return *address;
}
template <class T>
inline T __ldcs(const T* address) {
  return *address;
}
template <class T>
inline void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
inline void __stwb(T* address, T value) {
  *address = value;
}

inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __float_as_int(float x) {
  int bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(__float_as_int(x)); }
inline float __int_as_float(int bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float __uint_as_float(unsigned bits) { return __int_as_float(static_cast<int>(bits)); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

#define LUFFY_MIN_MAX(T)                           \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
LUFFY_MIN_MAX(int)
LUFFY_MIN_MAX(unsigned)
LUFFY_MIN_MAX(long)
LUFFY_MIN_MAX(long long)
LUFFY_MIN_MAX(unsigned long)
LUFFY_MIN_MAX(unsigned long long)
#undef LUFFY_MIN_MAX
