// logits-policy-loss on CUDA. See logits-policy-loss.h; statistics are in row-softmax.cuh, the token's loss in
// policy-loss-math.h.
//
// Bound by memory: each logit is read once and written once, 8 bytes in float32, 4 in bfloat16, where a row fits in the
// shared memory of a block, or of the blocks of a cluster that share the row's segments (sm_90 and later). Other rows, and
// rows that do not begin at multiples of 16 bytes, are read twice; the second walk goes backwards over the row, whose end
// is still in the cache. A warp takes a short row, and reads it twice from the nearest cache.
#include "logits-policy-loss.h"

#include "device-limits.cuh"
#include "policy-inputs.h"
#include "policy-metrics.cuh"
#include "row-softmax.cuh"

namespace luffy {
namespace cuda {

template <class T>
struct LogitsLossCall {
  T* logits;
  int64_t stride, columns;
  const int32_t* tokens;
  RowTemperature temperature;
  PolicyObjective objective;
  PolicyRows inputs;
  float* log_probs;
  float* entropy;
  double* kept;  // metrics of the rows of this launch
  int64_t first, count;
  FaultSink faults;
};

// What the second walk over a row needs: logit x becomes 2^y (slope y + constant), that of the token `chosen`.
struct RowGradient {
  float constant, slope, chosen;
  bool masked;
};

// The gradient of logit i, by its value.
DEV float logit_gradient(const RowGradient& gradient, float logit, bool chosen, float largest, float factor) {
  const float y = row_exponent(logit, largest, factor);
  const float value = exp2f(y) * fmaf(gradient.slope, y, gradient.constant);
  return gradient.masked ? 0.0f : chosen ? gradient.chosen : value;
}

// Of row i of the launch.
template <class T>
DEV T* logits_of(const LogitsLossCall<T>& call, int64_t i) {
  return call.logits + (call.first + i) * call.stride;
}
template <class T>
DEV int64_t token_of(const LogitsLossCall<T>& call, int64_t i) {
  return ld(call.tokens + call.first + i);
}

template <class T>
DEV bool is_token(const LogitsLossCall<T>& call, int64_t token) {
  return token >= 0 && token < call.columns;
}

// Row i of the launch, whose token has this logit, by one thread, or one of each block of a cluster, of which one
// `writes`. A token outside the vocabulary makes the row NaN, and leaves a fault. As on the CPU the gradient is
// q (a + b log q) with q = e / sum and log q = y log(2) - log(sum), where a = (-g + share H) / temperature and b = share /
// temperature; for the token 1 - q must not be a difference of rounded numbers.
template <class T>
DEV void finish_row(const LogitsLossCall<T>& call, int64_t i, const RowStatistics& row, float logit, bool writes,
                    RowGradient* gradient) {
  const int64_t r = call.first + i;
  const int64_t token = token_of(call, i);
  const bool known = is_token(call, token);
  if (!known && writes) leave_fault(call.faults, FaultKind::token, r, static_cast<int32_t>(token), call.columns);
  const double temperature = call.temperature.exact;
  const double share = call.objective.entropy_share;
  const double log_prob = known ? row_log_prob(row, logit, temperature) : NAN;
  const double entropy = known ? row_entropy(row) : NAN;
  const TokenLoss<double> loss = row_loss(call.objective, call.inputs, r, log_prob, call.faults);

  const double a = (share * entropy - loss.gradient) / temperature;
  const double b = share / temperature;
  const double q = exp(log_prob);
  const double bonus = q != 0 ? share * q * (log_prob + entropy) : 0.0;
  gradient->constant = known ? static_cast<float>((a - b * row_log_sum(row)) / row.sum) : NAN;
  gradient->slope = static_cast<float>(b * 0.6931471805599453 / row.sum);
  gradient->chosen = static_cast<float>((bonus - loss.gradient * expm1(log_prob)) / temperature);
  gradient->masked = loss.kind == kMasked;
  if (!writes) return;
  st(call.log_probs + r, static_cast<float>(log_prob));
  st(call.entropy + r, static_cast<float>(entropy));
  keep_metrics(loss, static_cast<float>(entropy), call.kept, call.count, i);
}

// A row that one block reads twice.
template <class T, int threads, bool wide>
KERNEL(threads, threads == 32 ? 16 : 2)
logits_policy_loss_kernel(const LogitsLossCall<T> call) {
  constexpr int64_t step = 4 * threads;
  SHARED(RowScratch<threads>, scratch, 1);
  SHARED(RowGradient, shared_gradient, 1);
  const float factor = call.temperature.factor;
  const int64_t columns = call.columns;
  T* const x = logits_of(call, blockIdx.x);
  const RowStatistics row = row_statistics<threads, wide>(x, columns, call.temperature.exact, factor, scratch);
  const int64_t token = token_of(call, blockIdx.x);
  if (threadIdx.x == 0) {
    const float logit = is_token(call, token) ? to_float(ld(x + token)) : NAN;
    finish_row(call, blockIdx.x, row, logit, true, shared_gradient);
  }
  __syncthreads();
  const RowGradient gradient = *shared_gradient;
  const auto differentiate = [&](Pack<float>& four, int64_t i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) four.at[j] = logit_gradient(gradient, four.at[j], i + j == token, row.largest, factor);
  };
  // Backwards: the last logits one four at a time, then several fours, so that enough loads are under way.
  constexpr int fours = 4;
  const int64_t first = 4 * static_cast<int64_t>(threadIdx.x);
  const int64_t whole = columns / (fours * step) * (fours * step);
  for (int64_t i = whole + first + (fours - 1) * step; i >= whole; i -= step) {
    if (i >= columns) continue;
    Pack<float> four{};
    if (!gradient.masked) four = load_four<wide>(x + i, columns - i, 0.0f);
    differentiate(four, i);
    store_four<wide>(x + i, columns - i, four);
  }
  for (int64_t i = whole + first - fours * step; i >= 0; i -= fours * step) {
    Pack<float> several[fours] = {};
    if (!gradient.masked) {
#pragma unroll
      for (int k = 0; k < fours; ++k) several[k] = load_four<wide>(x + i + k * step);
    }
#pragma unroll
    for (int k = 0; k < fours; ++k) {
      differentiate(several[k], i + k * step);
      store_four<wide>(x + i + k * step, several[k]);
    }
  }
}

// A row, or `own` segments of it by each block of a cluster, that comes to shared memory once. Rows begin at multiples of
// 16 bytes.
template <class T>
KERNEL(kRowBlock, 2)
logits_policy_loss_staged_kernel(const LogitsLossCall<T> call, int own) {
  constexpr int run = Pack<T>::size;
  constexpr int64_t step = int64_t{kRowBlock} * run;
  SHARED_DYN(T, staged);
  SHARED(RowScratch<kRowBlock>, scratch, 1);
  SHARED(RowGradient, shared_gradient, 1);
  const double temperature = call.temperature.exact;
  const float factor = call.temperature.factor;
  const int64_t columns = call.columns;
  const int segments = row_segments(columns);
  const int64_t length = segment_columns(columns);
  const auto rank = static_cast<int>(cluster_rank());
  const int64_t row_of_launch = blockIdx.x / static_cast<unsigned>(segments / own);
  T* const x = logits_of(call, row_of_launch);
  const int64_t part = rank * own * length;  // the first column of this block, which stands at staged[0]

  for (int s = 0; s < own; ++s) {
    const int64_t begin = part + s * length;
    const int64_t end = min(begin + length, columns);
    for (int64_t i = begin + int64_t{threadIdx.x} * run; i < end; i += step) {
      const int64_t left = end - i;
      cp_async16(staged + (i - part), x + i, static_cast<int>(left < run ? left : run) * static_cast<int>(sizeof(T)));
    }
    cp_async_commit();
  }
  struct Load {
    const T* logits;
    DEV Pack<float> operator()(int64_t i) const { return load_four<true>(logits + i); }
    DEV Pack<float> operator()(int64_t i, int64_t left) const { return load_four<true>(logits + i, left, -INFINITY); }
  };
  for (int s = 0; s < own; ++s) {
    cp_async_wait_until(own - 1 - s);
    __syncthreads();
    const int64_t begin = s * length;
    const int64_t end = min(begin + length, columns - part);
    const RowPiece piece = warp_piece(segment_part<kRowBlock>(begin, end, factor, Load{staged}), factor);
    if (threadIdx.x % 32 == 0) scratch->warps[s][threadIdx.x / 32] = piece;
  }
  __syncthreads();
  join_warps(scratch, own, temperature);
  cluster_sync();
  const int segment = static_cast<int>(threadIdx.x) % segments;
  const RowPiece* there = cluster_map(&scratch->segments[segment % own], static_cast<unsigned>(segment / own));
  const RowStatistics row = statistics_of(join_pieces(ld_cluster(there), segments, temperature));
  const int64_t token = token_of(call, row_of_launch);
  if (threadIdx.x == 0) {
    float logit = NAN;
    if (is_token(call, token)) {
      const int64_t owner = token / (own * length);
      logit = to_float(ld_cluster(cluster_map(staged + (token - owner * own * length), static_cast<unsigned>(owner))));
    }
    finish_row(call, row_of_launch, row, logit, rank == 0, shared_gradient);
  }
  // Nobody reads this block's shared memory after this.
  cluster_sync();
  const RowGradient gradient = *shared_gradient;
  const int64_t end = min(part + own * length, columns);
  for (int64_t i = part + int64_t{threadIdx.x} * run; i < end; i += step) {
    Pack<T> pack = *reinterpret_cast<const Pack<T>*>(staged + (i - part));
#pragma unroll
    for (int j = 0; j < run; ++j)
      pack.at[j] = from_float<T>(logit_gradient(gradient, to_float(pack.at[j]), i + j == token, row.largest, factor));
    store_pack<true>(x + i, end - i, pack);
  }
}

// How many segments each block of a cluster holds in shared memory, two blocks on a multiprocessor; 0: it cannot be.
static int staged_segments(const Tensor& logits) {
  const int64_t columns = logits.shape[1];
  const int64_t bytes = dtype_bytes(logits.dtype);
  if (columns <= kShortRow || !packs_aligned(logits)) return 0;
  constexpr int64_t kStatic = sizeof(RowScratch<kRowBlock>) + 256;
  const int64_t room = shared_memory_for(2) - kStatic;
  const int segments = row_segments(columns);
  const int least = has_clusters() ? 1 : segments;
  for (int own = segments; own >= least; own /= 2) {
    if (own * segment_columns(columns) * bytes <= room) return own;
  }
  return 0;
}

void logits_policy_loss(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor old_log_probs,
                        Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor metrics) {
  const char* op = "logits-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_rows(op, "logits", logits, activation_dtype(logits), -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_temperature(op, temperature);
  check_policy_shapes(op, inputs, objective, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "entropy", entropy, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  const int64_t most = rows < kRowsOfMetrics ? rows : kRowsOfMetrics;
  double* const kept = context.scratch<double>(most * kMetricCount);
  const int own = staged_segments(logits);
  for_activation(logits.dtype, [&](auto element) {
    using T = decltype(element);
    LogitsLossCall<T> call{};
    call.logits = static_cast<T*>(logits.data);
    call.stride = logits.row_stride;
    call.columns = columns;
    call.tokens = tokens.i32();
    call.temperature = row_temperature(temperature);
    call.objective = objective;
    call.inputs = policy_rows(inputs);
    call.log_probs = log_probs.f32();
    call.entropy = entropy.f32();
    call.kept = kept;
    call.faults = context.fault_sink(FaultOp::logits_policy_loss);
    for (call.first = 0; call.first < rows; call.first += kRowsOfMetrics) {
      call.count = rows - call.first < kRowsOfMetrics ? rows - call.first : kRowsOfMetrics;
      if (own > 0) {
        const auto cluster = static_cast<unsigned>(row_segments(columns) / own);
        const auto bytes = static_cast<size_t>(own * segment_columns(columns)) * sizeof(T);
        const Launch how(dim3(static_cast<unsigned>(call.count) * cluster), dim3(kRowBlock), bytes, stream_of(context));
        launch<logits_policy_loss_staged_kernel<T>>(how.with_cluster(cluster), call, own);
        add_metrics(context, call.kept, call.count, metrics.f64());
        continue;
      }
      for_row_kernel(columns, rows_aligned(logits), [&](auto threads, auto wide) {
        constexpr int block = decltype(threads)::value;
        const Launch how(dim3(static_cast<unsigned>(call.count)), dim3(block), 0, stream_of(context));
        launch<logits_policy_loss_kernel<T, block, decltype(wide)::value>>(how, call);
      });
      add_metrics(context, call.kept, call.count, metrics.f64());
    }
  });
}

}  // namespace cuda
}  // namespace luffy
