// rms-norm on CUDA. A group of C numbers is read once and kept in registers: by a warp up to 512 columns, by a block
// above. A thread owns the same packs of 16 bytes whether they can be loaded as such or not, so alignment changes no bit.
#include <cinttypes>
#include <type_traits>

#include "../core/cu.cuh"
#include "rms-norm-checks.h"
#include "rms-norm.cuh"
#include "rms-norm.h"

namespace luffy {
namespace cuda {

constexpr int kWarpColumns = 512;
constexpr int kBlock = 256;
constexpr int kMostBlocks = 1 << 20;
// Partial sums of gradWeight: as many as rows and groups alone decide.
constexpr int64_t kMostWorkers = 512;
constexpr int64_t kGroupsPerWorker = 4;

template <class T>
DEV int valid_in_pack(int64_t column, int64_t columns) {
  return columns - column < Pack<T>::size ? static_cast<int>(columns - column) : Pack<T>::size;
}

// Elements [column, column + size) of a row; those past the end are zero.
template <class T, bool aligned>
DEV Pack<T> load_pack(const T* row, int64_t column, int64_t columns, Site site = LUFFY_HERE) {
  if constexpr (aligned) return ld128(row + column, site);
  const int valid = valid_in_pack<T>(column, columns);
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i) pack.at[i] = i < valid ? ld(row + column + i, site) : from_float<T>(0.0f);
  return pack;
}
template <class T, bool aligned>
DEV void store_pack(T* row, int64_t column, int64_t columns, const Pack<T>& pack, Site site = LUFFY_HERE) {
  if constexpr (aligned) {
    st128(row + column, pack, site);
  } else {
    const int valid = valid_in_pack<T>(column, columns);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      if (i < valid) st(row + column + i, pack.at[i], site);
  }
}

// The sum over the `width` threads that share a group. `turn` alternates the scratch, so that one barrier a group will do.
template <int width>
DEV float group_sum(float value, float* scratch, int turn, Site site = LUFFY_HERE) {
  if constexpr (width == 32) return warp_sum(value, site);
  return block_sum<width>(value, scratch + 32 * (turn & 1), site);
}

// Which of the workers (warps or blocks) of the grid this is, and how many there are.
template <int width>
DEV int64_t worker_index() {
  return static_cast<int64_t>(blockIdx.x) * (kBlock / width) + threadIdx.x / width;
}
template <int width>
DEV int64_t worker_count() {
  return static_cast<int64_t>(gridDim.x) * (kBlock / width);
}

template <class T, bool aligned>
DEV Pack<T> load_s(const T* x, const T* residual, int64_t column, int64_t columns) {
  Pack<T> s = load_pack<T, aligned>(x, column, columns);
  if (residual == nullptr) return s;
  const Pack<T> r = load_pack<T, aligned>(residual, column, columns);
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i) s.at[i] = from_float<T>(to_float(s.at[i]) + to_float(r.at[i]));
  return s;
}

template <class T, int width, int packs, bool aligned>
KERNEL(kBlock, packs == 4 ? 2 : 4)
rms_norm_forward_kernel(RmsNormForwardArgs args) {
  SHARED(float, scratch, 64);
  constexpr int size = Pack<T>::size;
  const int lane = threadIdx.x % width;
  const int64_t total = args.rows * args.groups, workers = worker_count<width>();
  const int64_t columns = args.columns;
  const T* weight = static_cast<const T*>(args.weight);
  int turn = 0;
  for (int64_t group = worker_index<width>(); group < total; group += workers, ++turn) {
    const int64_t row = group / args.groups, offset = group % args.groups * columns;
    const T* x = static_cast<const T*>(args.x) + row * args.x_stride + offset;
    const T* residual =
        args.residual == nullptr ? nullptr : static_cast<const T*>(args.residual) + row * args.residual_stride + offset;
    T* sum = args.sum == nullptr ? nullptr : static_cast<T*>(args.sum) + row * args.sum_stride + offset;
    T* out = static_cast<T*>(args.out) + row * args.out_stride + offset;

    Pack<T> kept[packs];
    float squares = 0.0f;
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int64_t column = (static_cast<int64_t>(k) * width + lane) * size;
      if (column >= columns) continue;
      kept[k] = load_s<T, aligned>(x, residual, column, columns);
      if (sum != nullptr) store_pack<T, aligned>(sum, column, columns, kept[k]);
#pragma unroll
      for (int i = 0; i < size; ++i) squares = fmaf(to_float(kept[k].at[i]), to_float(kept[k].at[i]), squares);
    }
#pragma unroll 1
    for (int64_t column = (static_cast<int64_t>(packs) * width + lane) * size; column < columns;
         column += width * size) {
      const Pack<T> s = load_s<T, aligned>(x, residual, column, columns);
      if (sum != nullptr) store_pack<T, aligned>(sum, column, columns, s);
#pragma unroll
      for (int i = 0; i < size; ++i) squares = fmaf(to_float(s.at[i]), to_float(s.at[i]), squares);
    }

    squares = group_sum<width>(squares, scratch, turn);
    const float scale = 1.0f / sqrtf(squares / static_cast<float>(columns) + args.epsilon);
    if (args.rstd != nullptr && lane == 0) st(args.rstd + group, scale);

    const auto finish = [&](Pack<T> s, int64_t column) {
      const Pack<T> w = load_pack<T, aligned>(weight, column, columns);
#pragma unroll
      for (int i = 0; i < size; ++i) s.at[i] = from_float<T>(to_float(s.at[i]) * scale * to_float(w.at[i]));
      store_pack<T, aligned>(out, column, columns, s);
    };
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int64_t column = (static_cast<int64_t>(k) * width + lane) * size;
      if (column < columns) finish(kept[k], column);
    }
#pragma unroll 1
    for (int64_t column = (static_cast<int64_t>(packs) * width + lane) * size; column < columns; column += width * size)
      finish(sum != nullptr ? load_pack<T, aligned>(sum, column, columns)
                            : load_s<T, aligned>(x, residual, column, columns),
             column);
  }
}

// gradX, and this worker's sum of gradWeight's terms into its own row of the workspace.
template <class T, int width, int packs, bool aligned>
KERNEL(kBlock, packs == 4 && sizeof(T) == 2 ? 1 : 2)
rms_norm_backward_kernel(RmsNormBackwardArgs args) {
  SHARED(float, scratch, 64);
  constexpr int size = Pack<T>::size;
  const int lane = threadIdx.x % width;
  const int64_t total = args.rows * args.groups, workers = worker_count<width>();
  const int64_t columns = args.columns;
  const T* weight = static_cast<const T*>(args.weight);
  float* partial = args.workspace + worker_index<width>() * columns;
  float terms[packs][size] = {};
  int turn = 0;
  for (int64_t group = worker_index<width>(); group < total; group += workers, ++turn) {
    const int64_t row = group / args.groups, offset = group % args.groups * columns;
    const T* grad_out = static_cast<const T*>(args.grad_out) + row * args.grad_out_stride + offset;
    const T* s = static_cast<const T*>(args.s) + row * args.s_stride + offset;
    const T* grad_sum =
        args.grad_sum == nullptr ? nullptr : static_cast<const T*>(args.grad_sum) + row * args.grad_sum_stride + offset;
    T* grad_x = static_cast<T*>(args.grad_x) + row * args.grad_x_stride + offset;
    const float scale = ld(args.rstd + group);

    Pack<T> kept_g[packs], kept_s[packs];
    float dot = 0.0f;
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int64_t column = (static_cast<int64_t>(k) * width + lane) * size;
      if (column >= columns) continue;
      kept_g[k] = load_pack<T, aligned>(grad_out, column, columns);
      kept_s[k] = load_pack<T, aligned>(s, column, columns);
      const Pack<T> w = load_pack<T, aligned>(weight, column, columns);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const float g = to_float(kept_g[k].at[i]), value = to_float(kept_s[k].at[i]);
        terms[k][i] = fmaf(g, value * scale, terms[k][i]);
        dot = fmaf(g * to_float(w.at[i]), value, dot);
      }
    }
#pragma unroll 1
    for (int64_t column = (static_cast<int64_t>(packs) * width + lane) * size; column < columns;
         column += width * size) {
      const Pack<T> g = load_pack<T, aligned>(grad_out, column, columns);
      const Pack<T> value = load_pack<T, aligned>(s, column, columns);
      const Pack<T> w = load_pack<T, aligned>(weight, column, columns);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        if (column + i >= columns) continue;
        const float before = turn == 0 ? 0.0f : ld(partial + column + i);
        st(partial + column + i, fmaf(to_float(g.at[i]), to_float(value.at[i]) * scale, before));
        dot = fmaf(to_float(g.at[i]) * to_float(w.at[i]), to_float(value.at[i]), dot);
      }
    }

    dot = group_sum<width>(dot, scratch, turn);
    const float mean = dot * scale / static_cast<float>(columns);
    const auto finish = [&](const Pack<T>& g, const Pack<T>& value, int64_t column) {
      const Pack<T> w = load_pack<T, aligned>(weight, column, columns);
      Pack<T> grad;
      Pack<T> more;
      if (grad_sum != nullptr) more = load_pack<T, aligned>(grad_sum, column, columns);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const float inner = fmaf(-to_float(value.at[i]) * scale, mean, to_float(g.at[i]) * to_float(w.at[i]));
        grad.at[i] = from_float<T>(fmaf(inner, scale, grad_sum != nullptr ? to_float(more.at[i]) : 0.0f));
      }
      store_pack<T, aligned>(grad_x, column, columns, grad);
    };
#pragma unroll
    for (int k = 0; k < packs; ++k) {
      const int64_t column = (static_cast<int64_t>(k) * width + lane) * size;
      if (column < columns) finish(kept_g[k], kept_s[k], column);
    }
#pragma unroll 1
    for (int64_t column = (static_cast<int64_t>(packs) * width + lane) * size; column < columns; column += width * size)
      finish(load_pack<T, aligned>(grad_out, column, columns), load_pack<T, aligned>(s, column, columns), column);
  }
  if (turn == 0) {  // a worker without groups
#pragma unroll 1
    for (int64_t column = (static_cast<int64_t>(packs) * width + lane) * size; column < columns; column += width * size)
#pragma unroll
      for (int i = 0; i < size; ++i)
        if (column + i < columns) st(partial + column + i, 0.0f);
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t column = (static_cast<int64_t>(k) * width + lane) * size;
    if (column >= columns) continue;
    if constexpr (aligned) {
#pragma unroll
      for (int i = 0; i < size; i += 4)
        st128(partial + column + i, Pack<float>{{terms[k][i], terms[k][i + 1], terms[k][i + 2], terms[k][i + 3]}});
    } else {
#pragma unroll
      for (int i = 0; i < size; ++i)
        if (column + i < columns) st(partial + column + i, terms[k][i]);
    }
  }
}

// gradWeight[c] += the workers' sums: a warp's 32 columns in 8 slices of workers, each first to last, then the slices.
KERNEL(kBlock)
rms_norm_add_partials_kernel(const float* partial, int64_t workers, int64_t columns, float* grad_weight) {
  SHARED(float, slices, kBlock);
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  float sum = 0.0f;
  if (column < columns)
    for (int64_t worker = slice; worker < workers; worker += kBlock / 32)
      sum += ld(partial + worker * columns + column);
  slices[threadIdx.x] = sum;
  __syncthreads();
  if (slice != 0 || column >= columns) return;
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kBlock / 32; ++i) total += slices[i * 32 + lane];
  st(grad_weight + column, ld(grad_weight + column) + total);
}

static bool fits(const void* pointer, int64_t stride, int64_t element) {
  return pointer == nullptr || (reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && stride * element % 16 == 0);
}

static int64_t count_workers(int64_t total, int64_t columns) {
  const int64_t per_block = columns <= kWarpColumns ? kBlock / 32 : 1;
  int64_t blocks = (total + kGroupsPerWorker * per_block - 1) / (kGroupsPerWorker * per_block);
  if (blocks > kMostWorkers) blocks = kMostWorkers;
  return blocks * per_block;
}

int64_t rms_norm_backward_workspace(int64_t rows, int64_t groups, int64_t columns) {
  return count_workers(rows * groups, columns) * columns;
}

// run(threads of a group, packs that each keeps in registers, whether they are moved whole), as constants. A thread owns the
// same packs however many it keeps.
template <class T, class Run>
static void choose_kernel(int64_t columns, bool aligned, Run&& run) {
  const auto with_width = [&](auto width) {
    constexpr int threads = decltype(width)::value;
    constexpr int64_t pack = int64_t{Pack<T>::size} * threads;
    if (!aligned) return run(width, std::integral_constant<int, 1>(), std::false_type());
    if (columns <= pack) return run(width, std::integral_constant<int, 1>(), std::true_type());
    if constexpr (threads != 32 || 2 * pack < kWarpColumns) {
      if (columns > 2 * pack) return run(width, std::integral_constant<int, 4>(), std::true_type());
    }
    run(width, std::integral_constant<int, 2>(), std::true_type());
  };
  if (columns <= kWarpColumns) return with_width(std::integral_constant<int, 32>());
  with_width(std::integral_constant<int, kBlock>());
}

template <class T>
static void forward(const RmsNormForwardArgs& args, cudaStream_t stream) {
  const int64_t element = sizeof(T), columns = args.columns;
  const bool aligned = columns * element % 16 == 0 && fits(args.x, args.x_stride, element) &&
                       fits(args.residual, args.residual_stride, element) && fits(args.weight, 0, element) &&
                       fits(args.sum, args.sum_stride, element) && fits(args.out, args.out_stride, element);
  const int64_t total = args.rows * args.groups;
  const int64_t per_block = columns <= kWarpColumns ? kBlock / 32 : 1;
  const int64_t blocks = (total + per_block - 1) / per_block;
  const Launch how(dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), kBlock, 0, stream);
  choose_kernel<T>(columns, aligned, [&](auto width, auto packs, auto wide) {
    launch<rms_norm_forward_kernel<T, decltype(width)::value, decltype(packs)::value, decltype(wide)::value>>(how,
                                                                                                              args);
  });
}

template <class T>
static void backward(const RmsNormBackwardArgs& args, cudaStream_t stream) {
  const int64_t element = sizeof(T), columns = args.columns;
  const bool aligned = columns * element % 16 == 0 && fits(args.grad_out, args.grad_out_stride, element) &&
                       fits(args.s, args.s_stride, element) && fits(args.weight, 0, element) &&
                       fits(args.grad_sum, args.grad_sum_stride, element) &&
                       fits(args.grad_x, args.grad_x_stride, element) && fits(args.workspace, 0, element);
  const int64_t workers = count_workers(args.rows * args.groups, columns);
  const int64_t blocks = columns <= kWarpColumns ? workers / (kBlock / 32) : workers;
  const Launch how(dim3(static_cast<unsigned>(blocks)), kBlock, 0, stream);
  choose_kernel<T>(columns, aligned, [&](auto width, auto packs, auto wide) {
    launch<rms_norm_backward_kernel<T, decltype(width)::value, decltype(packs)::value, decltype(wide)::value>>(how,
                                                                                                               args);
  });
  launch<rms_norm_add_partials_kernel>(Launch(dim3(static_cast<unsigned>((columns + 31) / 32)), kBlock, 0, stream),
                                       args.workspace, workers, columns, args.grad_weight);
}

void rms_norm_forward_kernel_launch(const RmsNormForwardArgs& args, cudaStream_t stream) {
  if (args.rows == 0 || args.groups == 0) return;
  if (args.bf16)
    forward<bf16>(args, stream);
  else
    forward<float>(args, stream);
}

void rms_norm_backward_kernel_launch(const RmsNormBackwardArgs& args, cudaStream_t stream) {
  if (args.rows == 0 || args.groups == 0) return;
  if (args.bf16)
    backward<bf16>(args, stream);
  else
    backward<float>(args, stream);
}

void rms_norm_forward(Context& context, Tensor x, Tensor residual, Tensor weight, double epsilon, Tensor sum,
                      Tensor out, Tensor rstd) {
  const DType dtype = x.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  RmsNormForwardArgs args{};
  args.bf16 = dtype == DType::bf16;
  args.groups = check_rms_norm_forward(x, residual, weight, epsilon, sum, out, rstd, dtype);
  args.rows = x.shape[0];
  args.columns = weight.shape[0];
  args.x = x.data;
  args.residual = residual.data;
  args.weight = weight.data;
  args.sum = sum.data;
  args.out = out.data;
  args.rstd = rstd.f32();
  args.x_stride = x.row_stride;
  args.residual_stride = residual.row_stride;
  args.sum_stride = sum.row_stride;
  args.out_stride = out.row_stride;
  args.epsilon = static_cast<float>(epsilon);
  rms_norm_forward_kernel_launch(args, static_cast<cudaStream_t>(context.stream));
}

void rms_norm_backward(Context& context, Tensor grad_out, Tensor s, Tensor weight, Tensor rstd, Tensor grad_sum,
                       Tensor grad_x, Tensor grad_weight) {
  const DType dtype = s.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  RmsNormBackwardArgs args{};
  args.bf16 = dtype == DType::bf16;
  args.groups = check_rms_norm_backward(grad_out, s, weight, rstd, grad_sum, grad_x, grad_weight, dtype);
  args.rows = s.shape[0];
  args.columns = weight.shape[0];
  args.grad_out = grad_out.data;
  args.s = s.data;
  args.weight = weight.data;
  args.rstd = rstd.f32();
  args.grad_sum = grad_sum.data;
  args.grad_x = grad_x.data;
  args.grad_weight = grad_weight.f32();
  args.workspace = context.scratch<float>(rms_norm_backward_workspace(args.rows, args.groups, args.columns));
  args.grad_out_stride = grad_out.row_stride;
  args.s_stride = s.row_stride;
  args.grad_sum_stride = grad_sum.row_stride;
  args.grad_x_stride = grad_x.row_stride;
  rms_norm_backward_kernel_launch(args, static_cast<cudaStream_t>(context.stream));
}

}  // namespace cuda
}  // namespace luffy
