// reduce: one number from a float32 vector: sum, sum of squares, largest absolute value, or count of non-finite values.
//
//   x[n] float32, out[1] float64 (=). Sums in float64 over fixed chunks, added in order: the same bits for any number
//   of threads. n may be 0 (result 0). largest absolute: NaN when x holds NaN.
// add: out[T,C] = a + b (out may be a or b), rows may be strided.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {

enum class Reduction : int32_t { sum = 0, sum_of_squares = 1, largest_absolute = 2, non_finite = 3 };

namespace LUFFY_BACKEND {

void reduce(Context& context, Tensor x, int64_t reduction, Tensor out);
void add_rows(Context& context, Tensor a, Tensor b, Tensor out);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
