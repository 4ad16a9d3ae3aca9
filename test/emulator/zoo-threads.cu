// Seeded bugs of threads: barriers, warps, races.
#include "zoo.h"

constexpr int kThreads = 128;

static float value(size_t i) { return static_cast<float>(i % 1000); }

// Every thread reads its neighbour's value, the last one first's.
KERNEL(kThreads) missing_barrier_raw(const float* in, float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  tile[t] = in[t];
  out[t] = tile[(t + 32) % kThreads] + tile[(t + 96) % kThreads];  // bug: no barrier before
}
static float neighbours(size_t i) { return value((i + 32) % kThreads) + value((i + 96) % kThreads); }
ZOO(raw, "missing-barrier-raw") {
  Array<float> in(kThreads, value), out(kThreads);
  launch<missing_barrier_raw>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), neighbours);
}

KERNEL(kThreads) missing_barrier_war(const float* in, float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    tile[t] = in[round * kThreads + t];
    __syncthreads();
    out[round * kThreads + t] = tile[(t + 32) % kThreads] + tile[(t + 96) % kThreads];
    // bug: the next round overwrites what others still read
  }
}
ZOO(war, "missing-barrier-war") {
  Array<float> in(3 * kThreads, [](size_t i) { return static_cast<float>(i * i % 997); }), out(3 * kThreads);
  launch<missing_barrier_war>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), [](size_t i) {
    const size_t base = i / kThreads * kThreads, t = i % kThreads;
    const size_t a = base + (t + 32) % kThreads, b = base + (t + 96) % kThreads;
    return static_cast<float>(a * a % 997 + b * b % 997);
  });
}

KERNEL(kThreads) warp_barrier_for_block(const float* in, float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  tile[t] = in[t];
  __syncwarp();  // bug: the neighbours are in other warps
  out[t] = tile[(t + 32) % kThreads] + tile[(t + 96) % kThreads];
}
ZOO(warp_barrier, "syncwarp-for-block-barrier") {
  Array<float> in(kThreads, value), out(kThreads);
  launch<warp_barrier_for_block>(Launch(1, kThreads), in.data, out.data);
  return equals(out.read(), neighbours);
}

KERNEL(kThreads) barrier_at_two_sites(float* out) {
  SHARED(float, tile, kThreads);
  const int t = threadIdx.x;
  tile[t] = static_cast<float>(t);
  if (t < kThreads / 2) {
    __syncthreads();
    out[t] = tile[kThreads - 1 - t];
  } else {
    __syncthreads();  // bug: another barrier than the first half's
    out[t] = tile[kThreads - 1 - t] + 1.0f;
  }
}
ZOO(two_sites, "barrier-at-two-sites") {
  Array<float> out(kThreads);
  launch<barrier_at_two_sites>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t i) { return kThreads - 1.0f - i + (i >= kThreads / 2); });
}

KERNEL(kThreads) barrier_by_half(float* out) {
  const int t = threadIdx.x;
  if (t < kThreads / 2) __syncthreads();  // bug: the other half never comes
  out[t] = static_cast<float>(t);
}
ZOO(half, "barrier-by-half-the-block") {
  Array<float> out(kThreads);
  launch<barrier_by_half>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t i) { return i; });
}

KERNEL(kThreads) barrier_after_exit(float* out, int n) {
  const int t = threadIdx.x;
  if (t >= n) return;  // bug: leaves before the barrier
  __syncthreads();
  out[t] = static_cast<float>(t);
}
ZOO(after_exit, "barrier-after-early-exit") {
  Array<float> out(kThreads);
  launch<barrier_after_exit>(Launch(1, kThreads), out.data, 100);
  return equals(out.read(), [](size_t i) { return i; });
}

KERNEL(kThreads) shuffle_in_branch(float* out) {
  const int lane = threadIdx.x % 32;
  float x = static_cast<float>(lane);
  if (lane < 16) {
    x = __shfl_xor_sync(0xffffffffu, x, 1);  // bug: the mask names lanes that take the other way
  } else {
    x = __shfl_xor_sync(0xffffffffu, x, 2);
  }
  out[threadIdx.x] = x;
}
ZOO(branch, "shuffle-in-divergent-code") {
  Array<float> out(kThreads);
  launch<shuffle_in_branch>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t i) { return i % 32 < 16 ? (i % 32) ^ 1 : (i % 32) ^ 2; });
}

KERNEL(kThreads) shuffle_after_exit(float* out, int n) {
  const int t = threadIdx.x;
  if (t >= n) return;
  out[t] = warp_sum(1.0f);  // bug: in the last warp some lanes have left
}
ZOO(exited, "shuffle-with-exited-lanes") {
  Array<float> out(kThreads);
  launch<shuffle_after_exit>(Launch(1, kThreads), out.data, 100);
  return equals(out.read(), [](size_t) { return 32; });
}

KERNEL(32) shuffle_from_outside(float* out) {
  const int lane = threadIdx.x;
  float x = static_cast<float>(lane);
  if (lane < 16) x = __shfl_sync(0x0000ffffu, x, lane + 8);  // bug: lanes 8 to 15 read lanes the mask does not name
  out[lane] = x;
}
ZOO(outside, "shuffle-source-outside-the-mask") {
  Array<float> out(32);
  launch<shuffle_from_outside>(Launch(1, 32), out.data);
  return equals(out.read(), [](size_t i) { return i < 16 ? i + 8 : i; });
}

KERNEL(32) shuffle_as_fence(const float* in, float* out) {
  SHARED(float, tile, 32);
  const int lane = threadIdx.x;
  tile[lane] = in[lane];
  const int other = __shfl_xor_sync(0xffffffffu, lane, 1);
  out[lane] = tile[other];  // bug: a shuffle orders no memory
}
ZOO(shuffle_fence, "shuffle-as-memory-barrier") {
  Array<float> in(32, value), out(32);
  launch<shuffle_as_fence>(Launch(1, 32), in.data, out.data);
  return equals(out.read(), [](size_t i) { return value(i ^ 1); });
}

KERNEL(kThreads) write_write(float* out) {
  SHARED(float, tile, 1);
  if (threadIdx.x % 64 == 0) tile[0] = 7.0f;  // bug: two threads, no order (the same value, so nothing looks wrong)
  __syncthreads();
  out[threadIdx.x] = tile[0];
}
ZOO(write_write, "write-write-race") {
  Array<float> out(kThreads);
  launch<write_write>(Launch(1, kThreads), out.data);
  return equals(out.read(), [](size_t) { return 7; });
}

KERNEL(64) global_race(float* data) {
  if (threadIdx.x == 0) data[0] = 5.0f;
  __syncwarp();
  if (threadIdx.x == 1) data[1] = data[0] + 1.0f;   // fine: the same warp
  if (threadIdx.x == 63) data[2] = data[0] * 0.0f;  // bug: another warp
}
ZOO(global_race, "global-race-in-a-block") {
  Array<float> data(3, [](size_t) { return 1.0f; });
  launch<global_race>(Launch(1, 64), data.data);
  return equals(data.read(), [](size_t i) { return i == 0 ? 5 : i == 1 ? 6 : 0; });
}

KERNEL(32) cross_block_race(float* data, float* out) {
  if (threadIdx.x == 0 && blockIdx.x == 0) data[0] = 5.0f;
  if (threadIdx.x == 0 && blockIdx.x == 1) out[0] = data[0] * 0.0f;  // bug: blocks have no order
}
ZOO(cross_block, "global-race-between-blocks") {
  Array<float> data(1, [](size_t) { return 1.0f; }), out(1);
  launch<cross_block_race>(Launch(2, 32), data.data, out.data);
  return equals(out.read(), [](size_t) { return 0; });
}

KERNEL(32) ticket_without_fence(float* partial, unsigned* ticket, float* out) {
  if (threadIdx.x != 0) return;
  partial[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
  // bug: no __threadfence() before the ticket
  if (atomicAdd(ticket, 1u) + 1 == gridDim.x) {
    __threadfence();
    float sum = 0.0f;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
    out[0] = sum;
  }
}
ZOO(ticket, "ticket-without-threadfence") {
  Array<float> partial(4), out(1);
  Array<unsigned> count(1, [](size_t) { return 0u; });
  launch<ticket_without_fence>(Launch(4, 32), partial.data, count.data, out.data);
  return equals(out.read(), [](size_t) { return 10; });
}

KERNEL(32) endless_wait(const uint32_t* flag, float* out) {
  if (threadIdx.x == 0)
    while (ld_acquire(flag) == 0) {  // bug: nobody sets it
    }
  out[threadIdx.x] = 1.0f;
}
ZOO(endless, "wait-that-never-ends") {
  Array<uint32_t> flag(1, [](size_t) { return 0u; });
  Array<float> out(32);
  launch<endless_wait>(Launch(1, 32), flag.data, out.data);
  return equals(out.read(), [](size_t) { return 1; });
}

// Blocks of a cluster read each other's maximum. One leaves before the other has read.
KERNEL(32) leave_before_read(float* out) {
  SHARED(float, mine, 1);
  if (threadIdx.x == 0) mine[0] = static_cast<float>(cluster_rank());
  cluster_sync();
  if (threadIdx.x == 0) out[blockIdx.x] = ld_cluster(cluster_map(&mine[0], cluster_rank() ^ 1));
  // bug: no cluster_sync() at the end
}
ZOO(cluster_exit, "cluster-block-leaves-too-early") {
  Array<float> out(2);
  launch<leave_before_read>(Launch(2, 32).with_cluster(2), out.data);
  return equals(out.read(), [](size_t i) { return i ^ 1; });
}
