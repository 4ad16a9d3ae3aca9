// reduce and add_rows on CUDA. See reduce.h.
//
// Both are bound by memory: reduce reads 4 bytes an element (float64 arithmetic, three instructions an element, stays
// below that on data-centre cards), add_rows moves 12.
#include "reduce.h"

#include "reduce-chunks.cuh"

namespace luffy {
namespace cuda {

constexpr int kAddBlock = 256;

// For each reduction: the type a block works in, what an element adds, and how two values are combined.
template <Reduction>
struct Reducer;
template <>
struct Reducer<Reduction::sum> {
  using Value = double;
  template <class T>
  using Combine = Plus<T>;
  DEV static double add(double value, float x) { return value + static_cast<double>(x); }
};
template <>
struct Reducer<Reduction::sum_of_squares> {
  using Value = double;
  template <class T>
  using Combine = Plus<T>;
  DEV static double add(double value, float x) { return fma(static_cast<double>(x), static_cast<double>(x), value); }
};
template <>
struct Reducer<Reduction::largest_absolute> {
  using Value = float;
  template <class T>
  using Combine = Larger<T>;
  DEV static float add(float value, float x) { return Larger<float>()(value, fabsf(x)); }
};
template <>
struct Reducer<Reduction::non_finite> {
  using Value = int;
  template <class T>
  using Combine = Plus<T>;
  DEV static int add(int value, float x) { return value + (is_not_finite(x) ? 1 : 0); }
};

template <Reduction kind, bool wide>
KERNEL(kChunkBlock)
reduce_chunks_kernel(const float* x, int64_t size, double* partial) {
  using Value = typename Reducer<kind>::Value;
  const typename Reducer<kind>::template Combine<Value> combine;
  SHARED(Value, scratch, kChunkBlock / 32);
  Value values[4] = {};
  visit_chunk<wide>(x, size, [&](float value, int j) { values[j] = Reducer<kind>::add(values[j], value); });
  const Value mine = combine(combine(values[0], values[1]), combine(values[2], values[3]));
  const Value all = block_combine(mine, scratch, combine);
  if (threadIdx.x == 0) st(partial + blockIdx.x, static_cast<double>(all));
}

template <Reduction kind>
KERNEL(kChunkBlock)
reduce_partials_kernel(const double* partial, int64_t count, double* out) {
  SHARED(double, scratch, kChunkBlock / 32);
  const typename Reducer<kind>::template Combine<double> combine;
  const double all = combine_partials<double>(partial, count, scratch, combine);
  if (threadIdx.x == 0) st(out, all);
}

// out = a + b over rows of `columns`; one row when everything is contiguous.
template <class T, bool wide>
KERNEL(kAddBlock)
add_rows_kernel(const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* out, int64_t out_stride, int64_t rows,
                int64_t columns) {
  constexpr int size = Floats<T>::size;
  for (GridPieces at(pieces_of(columns, size)); at.row < rows; at.next()) {
    const int64_t column = at.piece * size;
    const int64_t left = columns - column;
    auto sum = load_floats<wide>(a + at.row * a_stride + column, left);
    const auto other = load_floats<wide>(b + at.row * b_stride + column, left);
#pragma unroll
    for (int j = 0; j < size; ++j) sum.at[j] += other.at[j];
    store_floats<wide>(out + at.row * out_stride + column, left, sum);
  }
}

template <Reduction kind>
static void reduce_by(Context& context, const Tensor& x, double* out) {
  const int64_t size = x.shape[0];
  const int64_t chunks = chunks_of(size);
  const dim3 block(kChunkBlock);
  double* partial = context.scratch<double>(chunks);
  const auto* from = static_cast<const float*>(x.f32());
  if (chunks > 0) {
    const Launch how(dim3(static_cast<unsigned>(chunks)), block, 0, stream_of(context));
    // A vector has one row of its own length, whatever its stride says.
    if (reinterpret_cast<uintptr_t>(from) % 16 == 0) {
      launch<reduce_chunks_kernel<kind, true>>(how, from, size, partial);
    } else {
      launch<reduce_chunks_kernel<kind, false>>(how, from, size, partial);
    }
  }
  const Launch how(dim3(1), block, 0, stream_of(context));
  launch<reduce_partials_kernel<kind>>(how, static_cast<const double*>(partial), chunks, out);
}

void reduce(Context& context, Tensor x, int64_t reduction, Tensor out) {
  check_vector("reduce", "x", x, DType::f32, -1);
  check_vector("reduce", "out", out, DType::f64, 1);
  LUFFY_CHECK(reduction >= 0 && reduction <= 3, "reduce: no reduction has number %lld",
              static_cast<long long>(reduction));
  switch (static_cast<Reduction>(reduction)) {
    case Reduction::sum:
      return reduce_by<Reduction::sum>(context, x, out.f64());
    case Reduction::sum_of_squares:
      return reduce_by<Reduction::sum_of_squares>(context, x, out.f64());
    case Reduction::largest_absolute:
      return reduce_by<Reduction::largest_absolute>(context, x, out.f64());
    case Reduction::non_finite:
      return reduce_by<Reduction::non_finite>(context, x, out.f64());
  }
}

void add_rows(Context& context, Tensor a, Tensor b, Tensor out) {
  const DType dtype = activation_dtype(a);
  check_rows("add", "a", a, dtype, -1, -1);
  check_rows("add", "b", b, dtype, a.shape[0], a.shape[1]);
  check_rows("add", "out", out, dtype, a.shape[0], a.shape[1]);
  if (a.size() == 0) return;
  const bool flat = a.contiguous() && b.contiguous() && out.contiguous();
  const int64_t rows = flat ? 1 : a.shape[0];
  const int64_t columns = flat ? a.size() : a.shape[1];
  if (flat) a.shape[0] = b.shape[0] = out.shape[0] = 1;
  const bool wide = packs_aligned(a) && packs_aligned(b) && packs_aligned(out);
  const int size = static_cast<int>(16 / dtype_bytes(dtype));
  const Launch how(dim3(blocks_for(rows * pieces_of(columns, size), kAddBlock)), dim3(kAddBlock), 0,
                   stream_of(context));
  for_activation(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      kernel(how, static_cast<const T*>(a.data), a.row_stride, static_cast<const T*>(b.data), b.row_stride,
             static_cast<T*>(out.data), out.row_stride, rows, columns);
    };
    if (wide) {
      run([](auto... arguments) { launch<add_rows_kernel<T, true>>(arguments...); });
    } else {
      run([](auto... arguments) { launch<add_rows_kernel<T, false>>(arguments...); });
    }
  });
}

}  // namespace cuda
}  // namespace luffy
