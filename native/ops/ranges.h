// parallel_ranges: how row-wise and elementwise kernels share their work among threads.
#pragma once

#include "../core/context.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Floats of one task: ten to twenty microseconds, so that less than that never wakes a thread.
constexpr int64_t kTaskFloats = 131072;

LUFFY_INLINE int64_t at_most(int64_t value, int64_t limit) { return value < limit ? value : limit; }

// Rows of one task, when a row takes `row_floats` floats of work.
LUFFY_INLINE int64_t task_rows(int64_t row_floats) {
  return row_floats <= 0 || row_floats >= kTaskFloats ? 1 : kTaskFloats / row_floats;
}

// Kernels that compute much per number keep too few loads in flight to fill the memory's time, and rows end before the
// processor's own prefetching has understood them: they fetch what they will read 2 KiB later. Never faults.
constexpr int64_t kPrefetchFloats = 512;

LUFFY_INLINE void prefetch(const float* p, int64_t floats_ahead) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + floats_ahead * 4);
}

// The same, for rows of which only `row_floats` in every `stride` are read: whole rows ahead.
LUFFY_INLINE int64_t prefetch_distance(int64_t row_floats, int64_t stride) {
  if (row_floats >= 4 * kPrefetchFloats || row_floats <= 0) return kPrefetchFloats;
  return stride * ((kPrefetchFloats + row_floats - 1) / row_floats);
}

// body(begin, end) for consecutive ranges of `grain` items (the last one shorter) that cover [0, count).
template <class Body>
LUFFY_INLINE void parallel_ranges(Context& context, int64_t count, int64_t grain, Body&& body) {
  parallel_for(context, (count + grain - 1) / grain, [&](int64_t task, int) {
    const int64_t begin = task * grain;
    body(begin, at_most(begin + grain, count));
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
