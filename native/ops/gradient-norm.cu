// gradient-norm on CUDA: sum of squares and number of non-finite elements in one pass over fixed chunks, then one block
// over the chunks. See gradient-norm.h and reduce-chunks.cuh. Bound by memory: 4 bytes an element.
#include "gradient-norm.h"

#include "reduce-chunks.cuh"

namespace luffy {
namespace cuda {

template <bool wide>
KERNEL(kChunkBlock)
gradient_norm_chunks_kernel(const float* grads, int64_t size, double* squares, int32_t* bad) {
  SHARED(double, square_scratch, kChunkBlock / 32);
  SHARED(int, bad_scratch, kChunkBlock / 32);
  double sums[4] = {};
  int found = 0;
  visit_chunk<wide>(grads, size, [&](float value, int j) {
    sums[j] = fma(static_cast<double>(value), static_cast<double>(value), sums[j]);
    found += is_not_finite(value) ? 1 : 0;
  });
  const double sum = block_combine((sums[0] + sums[1]) + (sums[2] + sums[3]), square_scratch, Plus<double>());
  const int count = block_combine(found, bad_scratch, Plus<int>());
  if (threadIdx.x != 0) return;
  st(squares + blockIdx.x, sum);
  st(bad + blockIdx.x, count);
}

KERNEL(kChunkBlock)
gradient_norm_control_kernel(const double* squares, const int32_t* bad, int64_t chunks, double max_norm,
                             float* control) {
  SHARED(double, square_scratch, kChunkBlock / 32);
  SHARED(long long, bad_scratch, kChunkBlock / 32);
  const double sum = combine_partials<double>(squares, chunks, square_scratch, Plus<double>());
  const long long count = combine_partials<long long>(bad, chunks, bad_scratch, Plus<long long>());
  if (threadIdx.x != 0) return;
  // Finite floats cannot overflow a float64 sum of squares, so the sum is finite when all of them are.
  const double norm = sqrt(sum);
  const float stored = static_cast<float>(norm);
  const bool ok = !is_not_finite(stored);
  const double factor = max_norm > 0 ? max_norm / (norm + 1e-6) : 1.0;
  st(control, stored);
  st(control + 1, ok ? static_cast<float>(factor < 1.0 ? factor : 1.0) : 0.0f);
  st(control + 2, ok ? 1.0f : 0.0f);
  st(control + 3, ok ? 0.0f : static_cast<float>(count));
}

void gradient_norm(Context& context, Tensor grads, double max_norm, Tensor control) {
  check_vector("gradient-norm", "grads", grads, DType::f32, -1);
  check_vector("gradient-norm", "control", control, DType::f32, 4);
  LUFFY_CHECK(max_norm >= 0, "gradient-norm: maxNorm is %g", max_norm);

  const int64_t size = grads.shape[0];
  const int64_t chunks = chunks_of(size);
  double* squares = context.scratch<double>(chunks);
  int32_t* bad = context.scratch<int32_t>(chunks);
  const auto* from = static_cast<const float*>(grads.f32());
  if (chunks > 0) {
    const Launch how(dim3(static_cast<unsigned>(chunks)), dim3(kChunkBlock), 0, stream_of(context));
    if (reinterpret_cast<uintptr_t>(from) % 16 == 0) {
      launch<gradient_norm_chunks_kernel<true>>(how, from, size, squares, bad);
    } else {
      launch<gradient_norm_chunks_kernel<false>>(how, from, size, squares, bad);
    }
  }
  launch<gradient_norm_control_kernel>(Launch(dim3(1), dim3(kChunkBlock), 0, stream_of(context)),
                                       static_cast<const double*>(squares), static_cast<const int32_t*>(bad), chunks,
                                       max_norm, control.f32());
}

}  // namespace cuda
}  // namespace luffy
