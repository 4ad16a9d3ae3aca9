// parallel_ranges: how row-wise and elementwise kernels share their work among threads.
#pragma once

#include "../core/context.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Floats of one task: about ten microseconds of memory traffic, so that less than that never wakes a thread.
constexpr int64_t kTaskFloats = 32768;

LUFFY_INLINE int64_t at_most(int64_t value, int64_t limit) { return value < limit ? value : limit; }

// Rows of one task, when a row takes `row_floats` floats of work.
LUFFY_INLINE int64_t task_rows(int64_t row_floats) {
  return row_floats <= 0 || row_floats >= kTaskFloats ? 1 : kTaskFloats / row_floats;
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
