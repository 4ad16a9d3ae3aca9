// Kernels without a bug: every mode must stay silent about them.
#include "../../native/ops/device-limits.cuh"
#include "zoo.h"

static float value(size_t i) { return static_cast<float>(i % 1000); }

KERNEL(128) reduce_rows(const float* in, float* out, int columns) {
  SHARED(float, scratch, 32);
  float sum = 0.0f;
  for (int c = threadIdx.x; c < columns; c += 128) sum += ld(in + static_cast<size_t>(blockIdx.x) * columns + c);
  sum = block_sum<128>(sum, scratch);
  if (threadIdx.x == 0) st(out + blockIdx.x, sum);
}
ZOO(reduce, "control-block-sum") {
  Array<float> in(5 * 301, value), out(5);
  launch<reduce_rows>(Launch(5, 128), in.data, out.data, 301);
  return equals(out.read(), [](size_t row) {
    double sum = 0;
    for (size_t c = 0; c < 301; ++c) sum += value(row * 301 + c);
    return sum;
  });
}

KERNEL(256) transpose(const float* in, float* out) {
  SHARED(float, tile, 16 * 17);
  const int x = threadIdx.x, y = threadIdx.y;
  for (int round = 0; round < 3; ++round) {
    tile[y * 17 + x] = in[round * 256 + y * 16 + x];
    __syncthreads();
    out[round * 256 + y * 16 + x] = tile[x * 17 + y];
    __syncthreads();
  }
}
ZOO(transpose, "control-transpose") {
  Array<float> in(768, [](size_t i) { return static_cast<float>(i); }), out(768);
  launch<transpose>(Launch(1, dim3(16, 16)), in.data, out.data);
  return equals(out.read(), [](size_t i) { return i / 256 * 256 + i % 16 * 16 + i % 256 / 16; });
}

KERNEL(64) sum_by_ticket(const float* in, float* partial, unsigned* ticket, float* out) {
  SHARED(float, scratch, 32);
  SHARED(int, is_last, 1);
  const float sum = block_sum<64>(in[blockIdx.x * 64 + threadIdx.x], scratch);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
    __threadfence();
    is_last[0] = atomicAdd(ticket, 1u) + 1 == gridDim.x;
  }
  __syncthreads();
  if (is_last[0] && threadIdx.x == 0) {
    __threadfence();
    float total = 0.0f;
    for (unsigned i = 0; i < gridDim.x; ++i) total += partial[i];
    out[0] = total;
  }
}
ZOO(ticket, "control-ticket") {
  Array<float> in(7 * 64, value), partial(7), out(1);
  Array<unsigned> count(1, [](size_t) { return 0u; });
  launch<sum_by_ticket>(Launch(7, 64), in.data, partial.data, count.data, out.data);
  return equals(out.read(), [](size_t) { return 447 * 448 / 2; });
}

KERNEL(64) pipeline(const float* in, float* out, int tiles) {
  SHARED(float, ring, 2 * 256);
  const int t = threadIdx.x;
  cp_async16(ring + 4 * t, in + 4 * t);
  cp_async_commit();
  for (int i = 0; i < tiles; ++i) {
    if (i + 1 < tiles) cp_async16(ring + (i + 1) % 2 * 256 + 4 * t, in + (i + 1) * 256 + 4 * t);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    for (int j = 0; j < 4; ++j) out[i * 256 + j * 64 + t] = ring[i % 2 * 256 + 255 - (j * 64 + t)];
    __syncthreads();
  }
}
ZOO(pipeline, "control-cp-async-pipeline") {
  Array<float> in(1280, [](size_t i) { return static_cast<float>(i); }), out(1280);
  launch<pipeline>(Launch(1, 64), in.data, out.data, 5);
  return equals(out.read(), [](size_t i) { return i / 256 * 256 + 255 - i % 256; });
}

KERNEL(64) half_warps(float* out) {
  const int lane = threadIdx.x % 32;
  float x = static_cast<float>(lane);
  if (lane < 16) {
    for (int d = 8; d > 0; d /= 2) x += __shfl_xor_sync(0x0000ffffu, x, d);
  } else {
    for (int d = 8; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffff0000u, x, d));
  }
  __syncwarp();
  out[threadIdx.x] = x;
}
ZOO(half_warps, "control-half-warp-masks") {
  Array<float> out(64);
  launch<half_warps>(Launch(1, 64), out.data);
  return equals(out.read(), [](size_t i) { return i % 32 < 16 ? 120 : 31; });
}

KERNEL(64) cluster_max(const float* in, unsigned blocks, float* out) {
  SHARED(float, scratch, 32);
  SHARED(float, mine, 1);
  const float most = block_max<64>(in[blockIdx.x * 64 + threadIdx.x], scratch);
  if (threadIdx.x == 0) mine[0] = most;
  cluster_sync();
  if (threadIdx.x == 0) {
    float all = mine[0];
    for (unsigned rank = 0; rank < blocks; ++rank) all = fmaxf(all, ld_cluster(cluster_map(&mine[0], rank)));
    out[blockIdx.x] = all;
  }
  cluster_sync();
}
ZOO(cluster, "control-cluster-max") {
  // Before sm_90 a block is alone in its cluster.
  const unsigned blocks = luffy::cuda::has_clusters() ? 2 : 1;
  Array<float> in(256, value), out(4);
  launch<cluster_max>(Launch(4, 64).with_cluster(blocks), in.data, blocks, out.data);
  return equals(out.read(), [&](size_t i) { return (i / blocks * blocks + blocks) * 64 - 1; });
}

KERNEL(32) hand_over(uint32_t* flags, float* data, float* out) {
  const unsigned b = blockIdx.x;
  if (threadIdx.x == 0) {
    float x = 1.0f;
    if (b > 0) {
      while (ld_acquire(flags + b - 1) == 0) {
      }
      x = data[b - 1] * 2.0f;
    }
    data[b] = x;
    st_release(flags + b, 1);
    out[b] = x;
  }
}
ZOO(hand_over, "control-blocks-in-a-chain") {
  Array<uint32_t> flags(4, [](size_t) { return 0u; });
  Array<float> data(4), out(4);
  launch<hand_over>(Launch(4, 32).with_cooperation(), flags.data, data.data, out.data);
  return equals(out.read(), [](size_t i) { return 1 << i; });
}

KERNEL(96) votes(int* out) {
  const int t = threadIdx.x, lane = t % 32;
  const uint32_t odd = __ballot_sync(0xffffffffu, lane & 1);
  const int any = __any_sync(0xffffffffu, lane == 31), all = __all_sync(0xffffffffu, lane < 31);
  const int most = __reduce_max_sync(0xffffffffu, lane - 40), sum = __reduce_add_sync(0xffffffffu, lane);
  const uint32_t same = __match_any_sync(0xffffffffu, lane / 8);
  const int count = __syncthreads_count(t % 3 == 0), some = __syncthreads_or(t == 95);
  const int good = odd == 0xaaaaaaaau && any && !all && most == -9 && sum == 496 &&
                   same == 0xffu << (lane / 8 * 8) && count == 32 && some;
  const int up = __shfl_up_sync(0xffffffffu, lane, 1), down = __shfl_down_sync(0xffffffffu, lane, 3, 8);
  const int first = __shfl_sync(0xffffffffu, lane, 0, 8);
  const bool moved = up == (lane == 0 ? 0 : lane - 1) && down == (lane % 8 < 5 ? lane + 3 : lane) &&
                     first == lane / 8 * 8;
  out[t] = good && moved;
}
ZOO(votes, "control-votes-and-shuffles") {
  Array<int> out(96);
  launch<votes>(Launch(1, 96), out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

// d = a b + c on integers, through ldmatrix, for a[16, 16] and b[16, 8] stored as b[n][k] and as b[k][n].
template <bool transposed>
KERNEL(32) small_product(const float* a, const float* b, float* out) {
  SHARED(bf16, left, 16 * 16);
  SHARED(bf16, right, 16 * 8);
  const int t = threadIdx.x;
  for (int i = t; i < 256; i += 32) left[i] = from_float<bf16>(a[i]);
  for (int i = t; i < 128; i += 32) right[transposed ? i : i % 8 * 16 + i / 8] = from_float<bf16>(b[i]);
  __syncwarp();
  uint32_t fragment[4], other[2];
  ldmatrix<4>(fragment, left + t % 16 * 16 + t / 16 * 8);
  if (transposed)
    ldmatrix<2, true>(other, right + t % 16 * 8);
  else
    ldmatrix<2, false>(other, right + t % 8 * 16 + t / 8 % 2 * 8);
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = static_cast<float>(100 * (t / 4 + i / 2 * 8) + t % 4 * 2 + i % 2);
  mma_m16n8k16_bf16(d, fragment, other, d);
  for (int i = 0; i < 4; ++i) out[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
}
template <bool transposed>
static bool product_is_right() {
  const auto a = [](size_t i) { return static_cast<float>(static_cast<int>(i * 7 % 23) - 11); };
  const auto b = [](size_t i) { return static_cast<float>(static_cast<int>(i * 5 % 19) - 9); };
  Array<float> left(256, a), right(128, b), out(128);
  launch<small_product<transposed>>(Launch(1, 32), left.data, right.data, out.data);
  return equals(out.read(), [&](size_t i) {
    const size_t row = i / 8, column = i % 8;
    double sum = static_cast<double>(100 * row + column);
    for (size_t k = 0; k < 16; ++k) sum += static_cast<double>(a(row * 16 + k)) * b(k * 8 + column);
    return sum;
  });
}
ZOO(product, "control-mma") { return product_is_right<false>(); }
ZOO(product_transposed, "control-mma-transposed") { return product_is_right<true>(); }

KERNEL(32) small_tf32(const float* a, const float* b, float* out) {
  const int t = threadIdx.x;
  uint32_t fragment[4], other[2];
  for (int r = 0; r < 4; ++r) fragment[r] = __float_as_uint(a[(t / 4 + r % 2 * 8) * 8 + t % 4 + r / 2 * 4]);
  for (int r = 0; r < 2; ++r) other[r] = __float_as_uint(b[(t % 4 + r * 4) * 8 + t / 4]);
  float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  mma_m16n8k8_tf32(d, fragment, other, d);
  for (int i = 0; i < 4; ++i) out[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
}
ZOO(tf32, "control-mma-tf32") {
  const auto a = [](size_t i) { return static_cast<float>(static_cast<int>(i * 7 % 301) - 150); };
  const auto b = [](size_t i) { return static_cast<float>(static_cast<int>(i * 5 % 203) - 101); };
  Array<float> left(128, a), right(64, b), out(128);
  launch<small_tf32>(Launch(1, 32), left.data, right.data, out.data);
  return equals(out.read(), [&](size_t i) {
    double sum = 0;
    for (size_t k = 0; k < 8; ++k) sum += static_cast<double>(a(i / 8 * 8 + k)) * b(k * 8 + i % 8);
    return sum;
  });
}

// A copy of fewer bytes than 16 fills the rest with zero; four-matrix transposed ldmatrix gives columns.
KERNEL(32) partial_copy(const float* in, float* out) {
  SHARED(float, tile, 128);
  const int t = threadIdx.x;
  cp_async16(tile + 4 * t, in + 4 * t, t % 5 * 4 > 16 ? 16 : t % 5 * 4);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  for (int i = 0; i < 4; ++i) out[i * 32 + t] = tile[i * 32 + t];
}
ZOO(partial_copy, "control-cp-async-partial") {
  Array<float> in(128, [](size_t i) { return static_cast<float>(i + 1); }), out(128);
  launch<partial_copy>(Launch(1, 32), in.data, out.data);
  return equals(out.read(), [](size_t i) { return i % 4 < i / 4 % 5 ? i + 1 : 0; });
}

template <bool transposed>
KERNEL(32) four_matrices(uint32_t* out) {
  SHARED(uint16_t, tile, 256);
  const int t = threadIdx.x;
  for (int i = t; i < 256; i += 32) tile[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t words[4];
  ldmatrix<4, transposed>(words, tile + 8 * t);
  uint32_t one[1];
  ldmatrix<1, transposed>(one, tile + 8 * (t % 8));
  for (int m = 0; m < 4; ++m) out[m * 32 + t] = words[m];
  out[128 + t] = one[0];
}
template <bool transposed>
static bool matrices_are_right() {
  Array<uint32_t> out(160);
  launch<four_matrices<transposed>>(Launch(1, 32), out.data);
  return equals(out.read(), [](size_t i) {
    const size_t m = i / 32 % 4, row = i % 32 / 4, column = i % 4 * 2;
    const size_t low = m * 64 + (transposed ? column * 8 + row : row * 8 + column);
    return low | (low + (transposed ? 8 : 1)) << 16;
  });
}
ZOO(matrices, "control-ldmatrix-x4") { return matrices_are_right<false>(); }
ZOO(matrices_transposed, "control-ldmatrix-x4-transposed") { return matrices_are_right<true>(); }
