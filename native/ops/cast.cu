// cast and fill on CUDA: four elements a thread at a time, conversions by the bits, so that NaN payloads are the CPU's
// too. See cast.h.
//
// Bound by memory: each element is read once and written once.
#include <cinttypes>

#include "cast.h"
#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

constexpr int kCastBlock = 256;

DEV uint32_t float32_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
DEV float float32_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

struct Float32Format {
  using Element = float;
  DEV static float read(float x) { return x; }
  DEV static float write(float x) { return x; }
};

struct BFloat16Format {
  using Element = uint16_t;
  DEV static float read(uint16_t x) { return float32_of(static_cast<uint32_t>(x) << 16); }
  DEV static uint16_t write(float x) {
    const uint32_t bits = float32_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits | 0x400000u) >> 16);
    // Half of the last place, less one when the last kept bit is even: ties go to even, and overflow to infinity.
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
  }
};

struct Float16Format {
  using Element = uint16_t;
  DEV static float read(uint16_t x) {
    const uint32_t magnitude = static_cast<uint32_t>(x & 0x7fffu) << 13;
    const uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16;
    if (magnitude >= 0x0f800000u) {
      return float32_of(magnitude | 0x7f800000u | (magnitude > 0x0f800000u ? 0x400000u : 0u) | sign);
    }
    // The exponent moves by 112 with one exact product, which also makes normal numbers of float16's denormals.
    return float32_of(float32_bits(float32_of(magnitude) * 0x1p112f) | sign);
  }
  DEV static uint16_t write(float x) {
    const uint32_t bits = float32_bits(x);
    const uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t value;
    if (magnitude > 0x7f800000u) {
      value = ((magnitude >> 13) & 0x3ffu) | 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {
      value = 0x7c00u;
    } else if (magnitude < 0x38800000u) {
      // The last place of 0.5 is float16's smallest denormal: the addition rounds to it.
      value = float32_bits(float32_of(magnitude) + 0.5f) - 0x3f000000u;
    } else {
      value = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    }
    return static_cast<uint16_t>(value | (bits >> 16 & 0x8000u));
  }
};

// Four elements of four bytes or of two, moved by one instruction where `wide` says that they may be.
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T at[4];
};

DEV void store(float* p, const Four<float>& four) { st128(p, *reinterpret_cast<const Pack<float>*>(&four)); }
DEV void store(uint16_t* p, const Four<uint16_t>& four) { st64(p, *reinterpret_cast<const uint2*>(&four)); }

template <class From, class To, bool wide>
KERNEL(kCastBlock)
cast_kernel(const typename From::Element* in, typename To::Element* out, int64_t size) {
  using In = Four<typename From::Element>;
  using Out = Four<typename To::Element>;
  for (int64_t i = 4 * grid_thread(); i < size; i += 4 * grid_step()) {
    if (wide && i + 4 <= size) {
      const In four = ld(reinterpret_cast<const In*>(in + i));
      Out result;
#pragma unroll
      for (int j = 0; j < 4; ++j) result.at[j] = To::write(From::read(four.at[j]));
      store(out + i, result);
    } else {
      for (int64_t j = i; j < min(i + 4, size); ++j) st(out + j, To::write(From::read(ld(in + j))));
    }
  }
}

template <class T, bool wide>
KERNEL(kCastBlock)
fill_kernel(T* out, int64_t size, T value) {
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < Pack<T>::size; ++j) pack.at[j] = value;
  constexpr int64_t each = Pack<T>::size;
  for (int64_t i = each * grid_thread(); i < size; i += each * grid_step()) store_pack<wide>(out + i, size - i, pack);
}

static bool starts_at(const Tensor& t, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(t.data) % static_cast<uintptr_t>(bytes) == 0;
}

template <class T>
static void fill_with(const Context& context, const Tensor& out, T value) {
  const Launch how(dim3(blocks_for(out.size(), kCastBlock * Pack<T>::size)), dim3(kCastBlock), 0, stream_of(context));
  auto* to = static_cast<T*>(out.data);
  if (starts_at(out, 16)) return launch<fill_kernel<T, true>>(how, to, out.size(), value);
  launch<fill_kernel<T, false>>(how, to, out.size(), value);
}

template <class From, class To>
static void convert(const Context& context, const Tensor& in, const Tensor& out) {
  const Launch how(dim3(blocks_for(in.size(), 4 * kCastBlock)), dim3(kCastBlock), 0, stream_of(context));
  const auto* from = static_cast<const typename From::Element*>(in.data);
  auto* to = static_cast<typename To::Element*>(out.data);
  const bool wide = starts_at(in, 4 * dtype_bytes(in.dtype)) && starts_at(out, 4 * dtype_bytes(out.dtype));
  if (wide) return launch<cast_kernel<From, To, true>>(how, from, to, in.size());
  launch<cast_kernel<From, To, false>>(how, from, to, in.size());
}

template <class From>
static void convert_from(const Context& context, const Tensor& in, const Tensor& out) {
  switch (out.dtype) {
    case DType::f32:
      return convert<From, Float32Format>(context, in, out);
    case DType::bf16:
      return convert<From, BFloat16Format>(context, in, out);
    case DType::f16:
      return convert<From, Float16Format>(context, in, out);
    default:
      fail("cast: cannot convert to %s", dtype_name(out.dtype));
  }
}

static void copy_all(const Context& context, const Tensor& in, const Tensor& out) {
  if (in.data == out.data) return;
  const auto bytes = static_cast<size_t>(in.size() * dtype_bytes(in.dtype));
  const cudaError_t error = cudaMemcpyAsync(out.data, in.data, bytes, cudaMemcpyDeviceToDevice, stream_of(context));
  LUFFY_CHECK(error == cudaSuccess, "cast: copying failed: %s", cudaGetErrorString(error));
}

void cast(Context& context, Tensor in, Tensor out) {
  LUFFY_CHECK(in && out, "cast: %s is missing", in ? "out" : "in");
  LUFFY_CHECK(in.contiguous() && out.contiguous(), "cast: expected contiguous tensors");
  LUFFY_CHECK(in.size() == out.size(), "cast: in has %" PRId64 " elements, out has %" PRId64, in.size(), out.size());
  if (in.size() == 0) return;
  if (in.dtype == out.dtype) return copy_all(context, in, out);
  switch (in.dtype) {
    case DType::f32:
      return convert_from<Float32Format>(context, in, out);
    case DType::bf16:
      return convert_from<BFloat16Format>(context, in, out);
    case DType::f16:
      return convert_from<Float16Format>(context, in, out);
    default:
      fail("cast: cannot convert %s to %s", dtype_name(in.dtype), dtype_name(out.dtype));
  }
}

void fill(Context& context, Tensor out, double value) {
  LUFFY_CHECK(out, "fill: out is missing");
  LUFFY_CHECK(out.contiguous(), "fill: expected contiguous out");
  const bool whole =
      value >= -2147483648.0 && value <= 2147483647.0 && static_cast<double>(static_cast<int32_t>(value)) == value;
  LUFFY_CHECK(out.dtype == DType::f32 || out.dtype == DType::i32 || out.dtype == DType::bf16,
              "fill: expected float32, int32 or bfloat16, got %s", dtype_name(out.dtype));
  LUFFY_CHECK(out.dtype != DType::i32 || whole, "fill: %g is no int32", value);
  if (out.size() == 0) return;
  if (out.dtype == DType::f32) return fill_with(context, out, static_cast<float>(value));
  if (out.dtype == DType::bf16) return fill_with(context, out, __float2bfloat16_rn(static_cast<float>(value)));
  fill_with(context, out, static_cast<int32_t>(value));
}

}  // namespace cuda
}  // namespace luffy
