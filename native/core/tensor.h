// Tensor: a view of device memory as kernels see it. Plain data, passed by value, owns nothing.
#pragma once

#include <cstdint>

#include "check.h"
#include "macros.h"

namespace luffy {

enum class DType : uint8_t { f32, bf16, f16, i32, u8, f64 };

LUFFY_INLINE int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

const char* dtype_name(DType dtype);

// Row-major. Dimension 0 may be strided (a slice of the columns of a wider matrix): element (i, j) of a matrix is at
// data[i * row_stride + j]. A tensor with null data is an optional argument that was not given.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::f32;
  int32_t rank = 0;
  int64_t shape[4] = {1, 1, 1, 1};
  int64_t row_stride = 1;

  LUFFY_INLINE explicit operator bool() const { return data != nullptr; }
  LUFFY_INLINE int64_t size() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  LUFFY_INLINE int64_t row_size() const { return shape[1] * shape[2] * shape[3]; }
  LUFFY_INLINE bool contiguous() const { return row_stride == row_size() || shape[0] <= 1; }

  LUFFY_INLINE float* f32() const { return static_cast<float*>(data); }
  LUFFY_INLINE int32_t* i32() const { return static_cast<int32_t*>(data); }
  LUFFY_INLINE uint8_t* u8() const { return static_cast<uint8_t*>(data); }
  LUFFY_INLINE uint16_t* bits16() const { return static_cast<uint16_t*>(data); }
  LUFFY_INLINE double* f64() const { return static_cast<double*>(data); }
  // Row i of a float32 matrix.
  LUFFY_INLINE float* row(int64_t i) const { return f32() + i * row_stride; }
};

// Rows [begin, begin + count) of a vector or matrix; nothing of an argument that was not given.
LUFFY_INLINE Tensor rows_of(const Tensor& t, int64_t begin, int64_t count) {
  if (!t) return t;
  Tensor part = t;
  part.data = static_cast<char*>(t.data) + begin * t.row_stride * dtype_bytes(t.dtype);
  part.shape[0] = count;
  return part;
}

// What an op demands of an argument; throws with the op, the argument, what was expected and what came.
// `-1` in a shape means any size. Missing optional tensors pass `check_optional`.
void check_vector(const char* op, const char* name, const Tensor& t, DType dtype, int64_t size);
void check_matrix(const char* op, const char* name, const Tensor& t, DType dtype, int64_t rows, int64_t columns);
// As check_matrix, but the rows may be strided.
void check_rows(const char* op, const char* name, const Tensor& t, DType dtype, int64_t rows, int64_t columns);

}  // namespace luffy
