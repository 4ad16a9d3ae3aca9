// Reductions of a warp and of a block in a fixed order, so that every run gives the same bits.
#pragma once

constexpr uint32_t kFullWarp = 0xffffffffu;

#ifdef __CUDACC__
#define LUFFY_AT(site)
#else
#define LUFFY_AT(site) , 32, site
#endif

DEV float warp_sum(float value, Site site = LUFFY_HERE) {
  (void)site;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kFullWarp, value, lanes LUFFY_AT(site));
  return value;
}
DEV float warp_max(float value, Site site = LUFFY_HERE) {
  (void)site;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, lanes LUFFY_AT(site)));
  return value;
}

DEV void block_sync(Site site) {
#ifdef __CUDACC__
  (void)site;
  __syncthreads();
#else
  __syncthreads(site);
#endif
}

// The sum over the block's threads, to all of them. Every thread calls it; `scratch` is shared, 32 floats, and may be
// used again after the next barrier.
template <int threads>
DEV float block_sum(float value, float* scratch, Site site = LUFFY_HERE) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  constexpr int warps = threads / 32;
  value = warp_sum(value, site);
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  block_sync(site);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < warps; ++i) sum += scratch[i];
  return sum;
}
template <int threads>
DEV float block_max(float value, float* scratch, Site site = LUFFY_HERE) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  constexpr int warps = threads / 32;
  value = warp_max(value, site);
  if (warps == 1) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  block_sync(site);
  float most = scratch[0];
#pragma unroll
  for (int i = 1; i < warps; ++i) most = fmaxf(most, scratch[i]);
  return most;
}
