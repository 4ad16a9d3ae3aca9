// Rows picked by an index: the common part of embedding and gather-rows (and the index check, which rope needs too).
#pragma once

#include <cinttypes>

#include "../core/context.h"
#include "../core/simd.h"
#include "../core/tensor.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Fails unless every index is in [0, limit). The first loop has no exit, so that it is vectorised.
LUFFY_INLINE void check_indices(const char* op, const char* name, const Tensor& indices, int64_t limit) {
  const int32_t* index = indices.i32();
  const int64_t count = indices.shape[0];
  const uint32_t bound = limit > INT32_MAX ? 0x80000000u : static_cast<uint32_t>(limit);
  uint32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) wrong |= static_cast<uint32_t>(static_cast<uint32_t>(index[i]) >= bound);
  if (wrong == 0) return;
  for (int64_t i = 0; i < count; ++i) {
    LUFFY_CHECK(static_cast<uint32_t>(index[i]) < bound, "%s: %s[%" PRId64 "] is %d, outside [0, %" PRId64 ")", op,
                name, i, static_cast<int>(index[i]), limit);
  }
}

// out[i] = table[index[i]], for elements of four bytes, moved as bytes.
LUFFY_INLINE void copy_indexed_rows(Context& context, const Tensor& table, const int32_t* index, const Tensor& out) {
  const int64_t columns = out.shape[1];
  const char* from = static_cast<const char*>(table.data);
  char* to = static_cast<char*>(out.data);
  if (columns == 1) {
    parallel_ranges(context, out.shape[0], kTaskFloats, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) __builtin_memcpy(to + i * 4, from + int64_t{index[i]} * 4, 4);
    });
    return;
  }
  const size_t bytes = static_cast<size_t>(columns) * 4;
  parallel_ranges(context, out.shape[0], task_rows(columns), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      __builtin_memcpy(to + static_cast<size_t>(i) * bytes, from + static_cast<size_t>(index[i]) * bytes, bytes);
    }
  });
}

// table[index[i]] += grad[i], i ascending. Every task owns a slice of the columns and walks all the rows, so an
// element sees its terms in that order however the columns are cut, and repeated indices need no locks.
LUFFY_INLINE void add_indexed_rows(Context& context, const Tensor& grad, const int32_t* index, const Tensor& table) {
  const int64_t rows = grad.shape[0];
  const int64_t columns = grad.shape[1];
  const float* from = grad.f32();
  float* to = table.f32();
  // A slice is a whole number of pairs of cache lines; a small problem is one slice.
  int64_t width = (columns + context.threads() - 1) / context.threads();
  width = (width + 31) / 32 * 32;
  if (width == 0 || rows * columns <= kTaskFloats / 4) width = columns + 1;
  parallel_ranges(context, columns, width, [=](int64_t begin, int64_t end) {
    const int64_t whole = begin + (end - begin) / kLanes * kLanes;
    const int rest = static_cast<int>(end - whole);
    for (int64_t i = 0; i < rows; ++i) {
      const float* source = from + i * columns;
      float* target = to + int64_t{index[i]} * columns;
      for (int64_t c = begin; c < whole; c += kLanes) store(target + c, add(load(target + c), load(source + c)));
      if (rest > 0) {
        store_first(target + whole, add(load_first(target + whole, rest), load_first(source + whole, rest)), rest);
      }
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
