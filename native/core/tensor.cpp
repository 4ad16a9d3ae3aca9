#include "tensor.h"

#include <cinttypes>
#include <cstdio>

namespace luffy {

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    case DType::i32:
      return "int32";
    case DType::u8:
      return "uint8";
    case DType::f64:
      return "float64";
  }
  return "unknown";
}

namespace {

void check_any(const char* op, const char* name, const Tensor& t, DType dtype, int rank, int64_t rows, int64_t columns,
               bool strided) {
  LUFFY_CHECK(t, "%s: %s is missing", op, name);
  LUFFY_CHECK(t.dtype == dtype, "%s: expected %s of %s, got %s", op, name, dtype_name(dtype), dtype_name(t.dtype));
  const bool fits = t.rank == rank && (rows < 0 || t.shape[0] == rows) && (columns < 0 || t.shape[1] == columns);
  LUFFY_CHECK(fits, "%s: expected %s of rank %d [%" PRId64 ", %" PRId64 "], got rank %d [%" PRId64 ", %" PRId64 "]", op,
              name, rank, rows, columns, t.rank, t.shape[0], t.shape[1]);
  LUFFY_CHECK(strided || t.contiguous(), "%s: expected contiguous %s, got rows %" PRId64 " apart", op, name,
              t.row_stride);
}

}  // namespace

void check_vector(const char* op, const char* name, const Tensor& t, DType dtype, int64_t size) {
  check_any(op, name, t, dtype, 1, size, 1, false);
}

void check_matrix(const char* op, const char* name, const Tensor& t, DType dtype, int64_t rows, int64_t columns) {
  check_any(op, name, t, dtype, 2, rows, columns, false);
}

void check_rows(const char* op, const char* name, const Tensor& t, DType dtype, int64_t rows, int64_t columns) {
  check_any(op, name, t, dtype, 2, rows, columns, true);
}

}  // namespace luffy
