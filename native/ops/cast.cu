// cast and fill on CUDA: one element a thread, conversions by the bits, so that NaN payloads are the CPU's too. See
// cast.h.
#include <cinttypes>

#include "../core/cu.cuh"
#include "cast.h"

namespace luffy {
namespace cuda {

constexpr int kCastBlock = 256;
constexpr int64_t kCastMostBlocks = 1 << 16;

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

template <class From, class To>
KERNEL(kCastBlock)
cast_kernel(const typename From::Element* in, typename To::Element* out, int64_t size) {
  const int64_t step = int64_t{gridDim.x} * kCastBlock;
  for (int64_t i = int64_t{blockIdx.x} * kCastBlock + threadIdx.x; i < size; i += step) {
    st(out + i, To::write(From::read(ld(in + i))));
  }
}

template <class T>
KERNEL(kCastBlock)
fill_kernel(T* out, int64_t size, T value) {
  const int64_t step = int64_t{gridDim.x} * kCastBlock;
  for (int64_t i = int64_t{blockIdx.x} * kCastBlock + threadIdx.x; i < size; i += step) st(out + i, value);
}

static Launch cast_launch(const Context& context, int64_t size) {
  const int64_t blocks = (size + kCastBlock - 1) / kCastBlock;
  return Launch(dim3(static_cast<unsigned>(blocks < kCastMostBlocks ? blocks : kCastMostBlocks)), dim3(kCastBlock), 0,
                static_cast<cudaStream_t>(context.stream));
}

template <class From, class To>
static void convert(const Context& context, const Tensor& in, const Tensor& out) {
  launch<cast_kernel<From, To>>(cast_launch(context, in.size()), static_cast<const typename From::Element*>(in.data),
                                static_cast<typename To::Element*>(out.data), in.size());
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
  const cudaError_t error =
      cudaMemcpyAsync(out.data, in.data, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(context.stream));
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
  const Launch how = cast_launch(context, out.size());
  if (out.dtype == DType::f32) {
    launch<fill_kernel<float>>(how, out.f32(), out.size(), static_cast<float>(value));
  } else if (out.dtype == DType::bf16) {
    launch<fill_kernel<bf16>>(how, static_cast<bf16*>(out.data), out.size(),
                              __float2bfloat16_rn(static_cast<float>(value)));
  } else {
    launch<fill_kernel<int32_t>>(how, out.i32(), out.size(), static_cast<int32_t>(value));
  }
}

}  // namespace cuda
}  // namespace luffy
