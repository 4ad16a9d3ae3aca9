// What translated PTX calls (scripts/ptx-to-cpp.mjs makes it). Registers are held as unsigned integers of their width;
// shared addresses are offsets into the block's window, everything else is a host address.
#pragma once

#include <cmath>
#include <cstring>

#include "emulator.h"

namespace emulator {

void register_ptx_kernel(const void* kernel, void (*run)(void** arguments), size_t static_shared_bytes);
char* ptx_window();
size_t ptx_window_bytes();

// Offsets below this are no array's: a null or forgotten address is an error.
constexpr unsigned kFirstSharedOffset = 1024;

namespace ptx {

inline float f32(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline double f64(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, 8);
  return x;
}
inline uint32_t bits(float x) {
  uint32_t b;
  std::memcpy(&b, &x, 4);
  return b;
}
inline uint64_t bits(double x) {
  uint64_t b;
  std::memcpy(&b, &x, 8);
  return b;
}

template <class T>
struct Cell {
  typedef T type __attribute__((may_alias));
};
template <class T>
inline T load(const char* p) {
  return *reinterpret_cast<const typename Cell<T>::type*>(p);
}
template <class T>
inline void store(char* p, T value) {
  *reinterpret_cast<typename Cell<T>::type*>(p) = value;
}

inline char* shared(uint64_t offset, unsigned bytes, Site site) {
  if (offset < kFirstSharedOffset || offset + bytes > ptx_window_bytes())
    kernel_error("%u bytes at shared address %llu: the block has %zu (%s:%d)", bytes,
                 static_cast<unsigned long long>(offset), ptx_window_bytes(), short_name(site), site.line);
  if (offset % bytes != 0)
    kernel_error("shared access of %u bytes at %llu is not aligned (%s:%d)", bytes,
                 static_cast<unsigned long long>(offset), short_name(site), site.line);
  return ptx_window() + offset;
}
// Row addresses of ldmatrix: only the first 8 lanes of each matrix give one.
inline const char* shared_row(uint64_t offset, unsigned matrices, Site site) {
  return (current->rank & 31) < matrices * 8 ? shared(offset, 16, site) : ptx_window();
}
inline char* global(uint64_t address, unsigned bytes, bool is_store, Site site) {
  char* p = reinterpret_cast<char*>(address);
  check_access(p, bytes, is_store, site);
  return p;
}
inline char* generic(uint64_t address, unsigned bytes, Site site) {
  char* p = reinterpret_cast<char*>(address);
  if (current->cluster_size > 1) touches_cluster(p, bytes, site);
  return p;
}
inline uint64_t to_generic(uint64_t offset) { return reinterpret_cast<uint64_t>(ptx_window()) + offset; }
inline uint64_t to_shared(uint64_t address) { return address - reinterpret_cast<uint64_t>(ptx_window()); }

// Shifts clamp at the width instead of being undefined.
template <class T>
inline T shift_left(T a, uint32_t by) {
  return by >= sizeof(T) * 8 ? T{0} : static_cast<T>(a << by);
}
template <class T>
inline T shift_right(T a, uint32_t by) {
  constexpr uint32_t width = sizeof(T) * 8;
  return by >= width ? static_cast<T>(a < 0 ? -1 : 0) : static_cast<T>(a >> by);
}

inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t s = selector >> (4 * i) & 15;
    uint32_t byte = static_cast<uint32_t>(both >> (8 * (s & 7))) & 255;
    if (s & 8) byte = byte & 128 ? 255 : 0;
    out |= byte << (8 * i);
  }
  return out;
}
// `count` low bits of a, put into b from bit `at` on.
template <class T>
inline T insert_bits(T a, T b, uint32_t at, uint32_t count) {
  const T mask = shift_left<T>(static_cast<T>(~shift_left<T>(~T{0}, count)), at);
  return static_cast<T>((shift_left<T>(a, at) & mask) | (b & ~mask));
}
inline uint32_t reverse_bits(uint32_t a) {
  uint32_t out = 0;
  for (int i = 0; i < 32; ++i) out |= (a >> i & 1) << (31 - i);
  return out;
}
inline uint32_t logic3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t out = 0;
  for (int i = 0; i < 8; ++i)
    if (table >> i & 1) out |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return out;
}

// a * b + c rounded down: the product is exact in double, the sum is as the pair (sum, rest).
inline float fma_down(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, sum = product + c;
  if (!std::isfinite(sum)) return std::fma(a, b, c);
  const double other = sum - product, rest = (product - (sum - other)) + (c - other);
  const float near = static_cast<float>(sum);
  const bool above = near > sum || (near == sum && rest < 0);
  return above ? std::nextafterf(near, -INFINITY) : near;
}

// Round to nearest, ties to even; NaN becomes the canonical 0x7fff.
inline uint16_t to_bf16(float x) {
  const uint32_t b = bits(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<uint16_t>((b + 0x7fffu + (b >> 16 & 1)) >> 16);
}
inline float from_bf16(uint16_t b) { return f32(static_cast<uint32_t>(b) << 16); }

// Float to integer: rounded, clamped to the type's range, NaN to zero.
template <class I, class F>
inline I to_integer(F x, F low, F high, I least, I most) {
  if (x != x) return 0;
  if (x <= low) return least;
  if (x >= high) return most;
  return static_cast<I>(x);
}

inline uint32_t shuffle_word(Shuffle kind, uint32_t a, uint32_t b, uint32_t c, uint32_t mask, bool* valid, Site site) {
  const unsigned lane = current->rank & 31, width = 32 - (c >> 8 & 31);
  const unsigned low = lane & ~(width - 1), high = low + width - 1;
  if (valid != nullptr) {
    if (kind == Shuffle::index) *valid = true;
    if (kind == Shuffle::up) *valid = lane >= low + b;
    if (kind == Shuffle::down) *valid = lane + b <= high;
    if (kind == Shuffle::exclusive_or) *valid = (lane ^ b) <= high;
  }
  return static_cast<uint32_t>(shuffle(kind, mask, a, b, width, site));
}

}  // namespace ptx
}  // namespace emulator
