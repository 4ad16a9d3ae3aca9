// A stable radix sort of keys with their positions. See sort-keys.cuh.
//
// A pass: every block counts the digits of its tile; then every block adds up the counts of those before it and moves
// its pairs. A tile's order is kept by giving each warp a contiguous part, which it walks upwards. Each pass moves 24
// bytes a key and is bound by its two launches for the few thousand keys of a micro-batch.
#include "sort-keys.cuh"

#include <cinttypes>

namespace luffy {
namespace cuda {

constexpr int kSortBlock = 256;
constexpr int kSortWarps = kSortBlock / 32;
constexpr int kSortSteps = 8;
constexpr int kSortTile = kSortBlock * kSortSteps;
constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
static_assert(kDigits == kSortBlock, "a thread stands for a digit");

DEV int sort_digit(uint64_t pair, int shift) { return static_cast<int>(key_of(pair) >> shift) & (kDigits - 1); }

KERNEL(kSortBlock)
sort_begin_kernel(const int32_t* keys, int64_t count, uint64_t limit, uint64_t* pairs) {
  for (int64_t i = grid_thread(); i < count; i += grid_step()) {
    const uint64_t key = static_cast<uint32_t>(ld(keys + i));
    st(pairs + i, (key < limit ? key : limit) << 32 | static_cast<uint64_t>(i));
  }
}

KERNEL(kSortBlock)
sort_count_kernel(const uint64_t* pairs, int64_t count, int shift, uint32_t* counts) {
  SHARED(uint32_t, found, kDigits);
  found[threadIdx.x] = 0;
  __syncthreads();
  const int64_t begin = int64_t{blockIdx.x} * kSortTile;
  for (int k = 0; k < kSortSteps; ++k) {
    const int64_t i = begin + k * kSortBlock + threadIdx.x;
    if (i < count) atomicAdd(found + sort_digit(ld(pairs + i), shift), 1u);
  }
  __syncthreads();
  st(counts + int64_t{blockIdx.x} * kDigits + threadIdx.x, found[threadIdx.x]);
}

KERNEL(kSortBlock, 4)
sort_place_kernel(const uint64_t* pairs, int64_t count, int shift, const uint32_t* counts, uint64_t* sorted) {
  SHARED(uint32_t, places, kSortWarps * kDigits);
  SHARED(uint32_t, warp_totals, kSortWarps);
  const int digit = static_cast<int>(threadIdx.x);
  const int warp = digit / 32;
  const int lane = digit % 32;
  for (int w = 0; w < kSortWarps; ++w) places[w * kDigits + digit] = 0;
  __syncthreads();

  // How many pairs of the warp's part with the same digit come before each.
  uint32_t* mine = places + warp * kDigits;
  const int64_t begin = int64_t{blockIdx.x} * kSortTile + warp * (kSortTile / kSortWarps) + lane;
  const int left = begin < count ? static_cast<int>(count - begin) : 0;
  uint32_t rank[kSortSteps];
#pragma unroll
  for (int k = 0; k < kSortSteps; ++k) {
    const bool here = k * 32 < left;
    const int d = here ? sort_digit(ld(pairs + begin + k * 32), shift) : kDigits;
    const uint32_t peers = __match_any_sync(kFullWarp, d);
    const uint32_t lower = peers & ((1u << lane) - 1);
    const uint32_t before = here ? mine[d] : 0;
    rank[k] = before + static_cast<uint32_t>(__popc(lower));
    __syncwarp();
    if (here && lower == 0) mine[d] = before + static_cast<uint32_t>(__popc(peers));
    __syncwarp();
  }
  __syncthreads();

  // Thread `digit`: where pairs with this digit begin, then those of this block, then those of each of its warps.
  uint32_t total = 0;
  uint32_t earlier = 0;
  for (unsigned block = 0; block < gridDim.x; ++block) {
    if (block == blockIdx.x) earlier = total;
    total += ld(counts + int64_t{block} * kDigits + digit);
  }
  uint32_t through = total;
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const uint32_t left = __shfl_up_sync(kFullWarp, through, static_cast<unsigned>(lanes));
    if (lane >= lanes) through += left;
  }
  if (lane == 31) warp_totals[warp] = through;
  __syncthreads();
  uint32_t place = through - total + earlier;
  for (int w = 0; w < warp; ++w) place += warp_totals[w];
  for (int w = 0; w < kSortWarps; ++w) {
    const uint32_t here = places[w * kDigits + digit];
    places[w * kDigits + digit] = place;
    place += here;
  }
  __syncthreads();

#pragma unroll
  for (int k = 0; k < kSortSteps; ++k) {
    if (k * 32 >= left) break;
    const uint64_t pair = ld(pairs + begin + k * 32);
    st(sorted + mine[sort_digit(pair, shift)] + rank[k], pair);
  }
}

const uint64_t* sort_keys(Context& context, const char* op, const int32_t* keys, int64_t count, uint64_t limit) {
  LUFFY_CHECK(count <= INT32_MAX, "%s: expected fewer than 2^31 indices, got %" PRId64, op, count);
  uint64_t* from = context.scratch<uint64_t>(count);
  uint64_t* to = context.scratch<uint64_t>(count);
  if (count == 0) return from;
  const cudaStream_t stream = stream_of(context);
  const auto tiles = static_cast<unsigned>((count + kSortTile - 1) / kSortTile);
  uint32_t* counts = context.scratch<uint32_t>(int64_t{tiles} * kDigits);
  launch<sort_begin_kernel>(Launch(dim3(blocks_for(count, kSortBlock)), dim3(kSortBlock), 0, stream), keys, count,
                            limit, from);
  const Launch how(dim3(tiles), dim3(kSortBlock), 0, stream);
  const uint64_t largest = limit < UINT32_MAX ? limit : UINT32_MAX;
  for (int shift = 0; shift < 32 && largest >> shift != 0; shift += kDigitBits) {
    launch<sort_count_kernel>(how, static_cast<const uint64_t*>(from), count, shift, counts);
    launch<sort_place_kernel>(how, static_cast<const uint64_t*>(from), count, shift,
                              static_cast<const uint32_t*>(counts), to);
    uint64_t* const swapped = from;
    from = to;
    to = swapped;
  }
  return from;
}

}  // namespace cuda
}  // namespace luffy
