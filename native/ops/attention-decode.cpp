// attention-decode and the key/value cache. The arithmetic is attend_block, as in training: a unit is (sequence,
// key/value head), its rows are the query heads of that group, its blocks come from the cache as they stand there.
#include "attention-decode.h"

#include "attention-sequences.h"
#include "attention-softmax.h"
#include "kv-cache.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// One block of keys and values as a sequence sees it.
struct Block {
  const float* keys;
  const float* values;
  int visible;
};

Block block_at(const Cache& cache, const int32_t* blocks, int64_t length, int group, int64_t position) {
  const int64_t at = (int64_t{blocks[position / kAttentionBlock]} * cache.groups + group) * cache.size;
  return {cache.keys + at, cache.values + at, static_cast<int>(smaller<int64_t>(kAttentionBlock, length - position))};
}

// A unit's first block, or an empty one.
Block first_block(const Cache& cache, const int32_t* blocks, int64_t length, int group) {
  return length > 0 ? block_at(cache, blocks, length, group, 0) : Block{nullptr, nullptr, 0};
}

// The query heads of one group, of one sequence that sees `length` keys. next: the block that comes after the unit's.
void decode_unit(const Cache& cache, const int32_t* blocks, int64_t length, int group, int per_group, float scale,
                 const float* q, float* out, const Block& next) {
  const int dim = cache.dim;
  if (length == 0) {
    __builtin_memset(out, 0, static_cast<size_t>(per_group) * static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  for (int g = 0; g < per_group; g += kTileRows) {
    const int count = smaller(kTileRows, per_group - g);
    float maximum[kTileRows];
    alignas(64) float lane_sums[kTileRows * kLanes];
    const AttentionRows tile = {q + g * dim, dim, out + g * dim, dim, maximum, lane_sums};
    Block block = block_at(cache, blocks, length, group, 0);
    for (int64_t position = 0; position < length; position += kAttentionBlock) {
      const int64_t after = position + kAttentionBlock;
      const Block ahead = after < length ? block_at(cache, blocks, length, group, after) : next;
      const int keys = (ahead.visible + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
      const Fetch next_keys = {ahead.keys, ahead.keys + keys * dim};
      const Fetch next_values = {ahead.values, ahead.values + ahead.visible * dim};
      with_rows(count, [&](auto rows) {
        attend_block<decltype(rows)::value>(tile, dim, scale, block.keys, block.values, dim, block.visible, 0,
                                            position == 0, next_keys, next_values);
      });
      block = ahead;
    }
    with_rows(count, [&](auto rows) { finish_rows<decltype(rows)::value>(tile, dim, nullptr, 0); });
  }
}

// Floats that one portion of copying should move.
constexpr int64_t kCopyPortion = 1 << 16;
// A single key is written to a cache line per dimension: as slow as this many neighbouring floats.
constexpr int64_t kScatteredFloats = 8;

}  // namespace

void attention_decode(Context& context, Tensor q, Tensor key_cache, Tensor value_cache, Tensor block_table,
                      Tensor lengths, double scale, Tensor out) {
  const char* op = "attention-decode";
  const Cache cache = read_cache(op, key_cache, value_cache);
  const int per_group = check_decode(cache, q, block_table, lengths, out);
  const int64_t batch = q.shape[0];
  const int64_t most = block_table.shape[1];
  const int32_t* length = lengths.i32();
  for (int64_t b = 0; b < batch; ++b) {
    LUFFY_CHECK(length[b] >= 0 && length[b] <= most * kAttentionBlock,
                "%s: sequence %" PRId64 " has %d keys, its blocks hold %" PRId64, op, b, length[b],
                most * kAttentionBlock);
    const int32_t* blocks = block_table.i32() + b * most;
    for (int64_t i = 0; i * kAttentionBlock < length[b]; ++i) {
      LUFFY_CHECK(blocks[i] >= 0 && blocks[i] < cache.blocks,
                  "%s: block %d of sequence %" PRId64 " is not one of the cache's %" PRId64, op, blocks[i], b,
                  cache.blocks);
    }
  }

  // One query uses a loaded key only per_group times: a multiply-add costs more than in training.
  const int64_t weight = int64_t{cache.dim} * (per_group + 3) * 2;
  const Portions portions = make_portions(context, batch * cache.groups,
                                          [&](int64_t unit) { return (length[unit / cache.groups] + 16) * weight; });
  const int64_t columns = int64_t{per_group} * cache.dim;
  parallel_for(context, portions.count, [&](int64_t index, int) {
    for (int64_t unit = portions.bounds[index]; unit < portions.bounds[index + 1]; ++unit) {
      const int64_t b = unit / cache.groups;
      const int group = static_cast<int>(unit % cache.groups);
      Block next = {nullptr, nullptr, 0};
      if (unit + 1 < portions.bounds[index + 1]) {
        const int64_t row = (unit + 1) / cache.groups;
        next = first_block(cache, block_table.i32() + row * most, length[row],
                           static_cast<int>((unit + 1) % cache.groups));
      }
      decode_unit(cache, block_table.i32() + b * most, length[b], group, per_group, static_cast<float>(scale),
                  q.row(b) + group * columns, out.row(b) + group * columns, next);
    }
  });
}

void kv_cache_append(Context& context, Tensor k, Tensor v, Tensor slots, Tensor key_cache, Tensor value_cache) {
  const char* op = "kv-cache-append";
  const Cache cache = read_cache(op, key_cache, value_cache);
  const int64_t width = int64_t{cache.groups} * cache.dim;
  const int64_t tokens = check_cache_rows(op, cache, k, v, slots);
  const int32_t* slot = slots.i32();
  for (int64_t t = 0; t < tokens; ++t) {
    LUFFY_CHECK(slot[t] >= -1 && slot[t] < cache.blocks * kAttentionBlock,
                "%s: slot %d of token %" PRId64 " is not one of the cache's %" PRId64, op, slot[t], t,
                cache.blocks * kAttentionBlock);
  }
  const int64_t grain = larger<int64_t>(1, kCopyPortion / (kScatteredFloats * larger<int64_t>(width, 1)));
  parallel_for(context, (tokens + grain - 1) / grain, [&](int64_t index, int) {
    const int64_t end = smaller(tokens, (index + 1) * grain);
    for (int64_t t = index * grain, next; t < end; t = next) {
      next = t + 1;
      if (slot[t] < 0) continue;
      // A prompt's tokens fill neighbouring slots: whole key groups of them go through registers.
      const int position = slot[t] % kAttentionBlock;
      if (position % kKeyGroup == 0) {
        while (next < end && next - t < kKeyGroup && slot[next] == slot[t] + (next - t)) ++next;
        if (next - t < kKeyGroup) next = t + 1;
      }
      for (int g = 0; g < cache.groups; ++g) {
        const int64_t at = (int64_t{slot[t] / kAttentionBlock} * cache.groups + g) * cache.size;
        const int64_t column = int64_t{g} * cache.dim;
        float* keys = cache.keys + at + key_offset(position, cache.dim);
        if (next - t == kKeyGroup) {
          const float* rows[kKeyGroup];
          for (int i = 0; i < kKeyGroup; ++i) rows[i] = k.row(t + i) + column;
          pack_transposed(rows, kKeyGroup, cache.dim, keys);
        } else {
          const float* row = k.row(t) + column;
          // The lines of the next token's keys are asked for meanwhile, one by one (see Fetch).
          const float* ahead = keys;
          if (next < end && slot[next] >= 0) {
            const int64_t block = (int64_t{slot[next] / kAttentionBlock} * cache.groups + g) * cache.size;
            ahead = cache.keys + block + key_offset(slot[next] % kAttentionBlock, cache.dim);
          }
          for (int d = 0; d < cache.dim; ++d) {
            __builtin_prefetch(ahead + d * kKeyGroup, 1);
            keys[d * kKeyGroup] = row[d];
          }
        }
        for (int64_t i = t; i < next; ++i) {
          copy_row(v.row(i) + column, cache.dim, cache.values + at + (position + (i - t)) * cache.dim);
        }
      }
    }
  });
}

void kv_cache_copy(Context& context, Tensor pairs, Tensor key_cache, Tensor value_cache) {
  const char* op = "kv-cache-copy";
  const Cache cache = read_cache(op, key_cache, value_cache);
  check_matrix(op, "pairs", pairs, DType::i32, -1, 2);
  const int64_t count = pairs.shape[0];
  const int32_t* pair = pairs.i32();
  for (int64_t i = 0; i < 2 * count; ++i) {
    LUFFY_CHECK(pair[i] >= 0 && pair[i] < cache.blocks, "%s: block %d is not one of the cache's %" PRId64, op, pair[i],
                cache.blocks);
  }
  const int64_t size = cache.groups * cache.size;
  const int64_t grain = larger<int64_t>(1, kCopyPortion / (2 * larger<int64_t>(size, 1)));
  parallel_for(context, (count + grain - 1) / grain, [&](int64_t index, int) {
    for (int64_t i = index * grain; i < smaller(count, (index + 1) * grain); ++i) {
      const size_t bytes = static_cast<size_t>(size) * sizeof(float);
      const int64_t from = pair[2 * i] * size;
      const int64_t to = pair[2 * i + 1] * size;
      if (from == to) continue;
      __builtin_memcpy(cache.keys + to, cache.keys + from, bytes);
      __builtin_memcpy(cache.values + to, cache.values + from, bytes);
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
