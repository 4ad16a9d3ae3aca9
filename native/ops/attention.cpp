// attention, forward and backward, without a T x T matrix.
//
// Forward: a unit is (some queries of a sequence, key/value head). It walks the blocks of keys; each block is packed
// once, keys transposed, and meets all query heads of the group, in tiles of neighbouring queries.
//
// Backward: a panel of some blocks of keys is packed, then the queries that see it pass by: scores again, probabilities
// from lse, and the three gradients. dK and dV of a panel are summed from zero per (sequence, query head); these
// contributions are added in the order own sequence, then the sequences that share the prefix; inside each, query heads
// ascending. A unit is (a sequence and those that share its prefix, key/value head); where that gives too few, it is
// (sequence, query head), contributions go to scratch and are added afterwards in the same order: the same bits.
#include "attention.h"

#include "attention-sequences.h"
#include "attention-softmax.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Queries that share one pass over the keys in backward; so many rows keep the sums of dK and dV in registers long.
constexpr int kQueryRows = 32;

// Floats of the five matrices over a panel of keys in backward: 320 KiB.
constexpr int64_t kPanelFloats = 80 << 10;

// The rows of k or v that form a block of a sequence's keys.
LUFFY_INLINE void block_rows(const Sequence& s, const Tensor& t, int64_t column, int64_t begin, int count,
                             const float** rows) {
  for (int j = 0; j < count; ++j) rows[j] = t.row(s.row(begin + j)) + column;
}

// The end of the tile that starts at `position`: tiles are aligned, so that none crosses a block's border.
LUFFY_INLINE int64_t tile_end(int64_t position, int64_t end, int rows) {
  return smaller(end, position / rows * rows + rows);
}

// ---- forward

struct Forward {
  Heads heads;
  Tensor q, k, v, out, lse;
  float scale;
};

struct ForwardScratch {
  float* keys;       // [4][D][16]
  float* values;     // [64][D]
  float* maximum;    // [query heads of a group][queries of a range]
  float* lane_sums;  // [as maximum][kLanes]
};

// Fetches what a block of keys is packed from; rows are far apart in memory, which the processor does not foresee.
LUFFY_INLINE void prefetch_block(const Sequence& s, const Tensor& k, const Tensor& v, int group, int dim, int64_t begin,
                                 int64_t end) {
  const int64_t column = int64_t{group} * dim;
  end = smaller(end, begin + kAttentionBlock);
  for (int64_t p = begin; p < end; ++p) {
    const int64_t row = s.row(p);
    prefetch_row(k.row(row) + column, dim);
    prefetch_row(v.row(row) + column, dim);
  }
}

void forward_unit(const Forward& f, const Sequence& s, const QueryRange& range, int group, const ForwardScratch& x) {
  const int dim = f.heads.dim;
  const int64_t width = range.end - range.begin;
  const float* rows[kAttentionBlock];
  for (int64_t block = 0; block < range.end; block += kAttentionBlock) {
    const int count = static_cast<int>(smaller<int64_t>(kAttentionBlock, range.end - block));
    block_rows(s, f.k, int64_t{group} * dim, block, count, rows);
    pack_transposed(rows, count, dim, x.keys);
    block_rows(s, f.v, int64_t{group} * dim, block, count, rows);
    for (int j = 0; j < count; ++j) copy_row(rows[j], dim, x.values + j * dim);
    prefetch_block(s, f.k, f.v, group, dim, block + kAttentionBlock, range.end);

    for (int g = 0; g < f.heads.per_group; ++g) {
      const int64_t head = int64_t{group} * f.heads.per_group + g;
      for (int64_t p = larger(range.begin, block), end; p < range.end; p = end) {
        end = tile_end(p, range.end, kTileRows);
        const int64_t row = s.row(p);
        const int64_t state = g * width + (p - range.begin);
        const AttentionRows tile = {f.q.row(row) + head * dim, f.q.row_stride,    f.out.row(row) + head * dim,
                                    f.out.row_stride,          x.maximum + state, x.lane_sums + state * kLanes};
        const int visible = static_cast<int>(smaller<int64_t>(kAttentionBlock, p - block + 1));
        const bool last = p < block + kAttentionBlock;
        float* lse = f.lse ? f.lse.row(row) + head : nullptr;
        with_rows(static_cast<int>(end - p), [&](auto tile_rows) {
          constexpr int R = decltype(tile_rows)::value;
          attend_block<R>(tile, dim, f.scale, x.keys, x.values, dim, visible, 1, block == 0);
          if (last) finish_rows<R>(tile, dim, lse, f.heads.queries);
        });
      }
    }
  }
}

// ---- backward

struct Backward {
  Heads heads;
  Tensor grad_out, q, k, v, out, lse, grad_q;
  float scale;
  const float* delta;  // [T, H]: sum over d of gradOut * out
};

// Matrices over the keys hold a panel: so many blocks that they fill part of the second-level cache.
struct BackwardScratch {
  int64_t panel;         // positions, a multiple of kAttentionBlock
  float* keys;           // [panel / 16][D][16]
  float* values;         // [panel / 16][D][16]
  float* key_rows;       // [panel][D]
  float* grad_keys;      // [panel][D]
  float* grad_values;    // [panel][D]
  float* q;              // [kQueryRows][D]
  float* grad_out;       // [kQueryRows][D]
  float* probabilities;  // [kQueryRows][64]
  float* grad_scores;    // [kQueryRows][64]
};

int64_t backward_panel(int dim, const SequenceTable& table) {
  int64_t longest = 1;
  for (int64_t i = 0; i < table.count; ++i) longest = larger(longest, table.rows[i].positions());
  const int64_t blocks = larger<int64_t>(1, kPanelFloats / (5 * int64_t{kAttentionBlock} * dim));
  return smaller(blocks, (longest + kAttentionBlock - 1) / kAttentionBlock) * kAttentionBlock;
}

int64_t backward_scratch_size(int dim, int64_t panel) {
  return dim * (5 * panel + 2 * kQueryRows) + 2 * kQueryRows * kAttentionBlock;
}

BackwardScratch cut_backward_scratch(float* base, int dim, int64_t panel) {
  BackwardScratch x;
  x.panel = panel;
  x.keys = base;
  x.values = x.keys + panel * dim;
  x.key_rows = x.values + panel * dim;
  x.grad_keys = x.key_rows + panel * dim;
  x.grad_values = x.grad_keys + panel * dim;
  x.q = x.grad_values + panel * dim;
  x.grad_out = x.q + dim * kQueryRows;
  x.probabilities = x.grad_out + dim * kQueryRows;
  x.grad_scores = x.probabilities + kQueryRows * kAttentionBlock;
  return x;
}

// delta of a sequence's own rows, for query heads [first, end).
void compute_delta(const Backward& b, const Sequence& s, int first, int end, float* delta) {
  const int dim = b.heads.dim;
  for (int64_t row = s.start; row < int64_t{s.start} + s.length; ++row) {
    for (int h = first; h < end; ++h) {
      const float* x = b.grad_out.row(row) + int64_t{h} * dim;
      const float* y = b.out.row(row) + int64_t{h} * dim;
      Vec sum = vec(0.0f);
      int d = 0;
      for (; d + kLanes <= dim; d += kLanes) sum = fma(load(x + d), load(y + d), sum);
      if (d < dim) sum = fma(load_first(x + d, dim - d), load_first(y + d, dim - d), sum);
      delta[row * b.heads.queries + h] = reduce_add(sum);
    }
  }
}

// R neighbouring queries, the first at `row`, against the panel's block that starts `offset` positions into it: their
// rows of P and dS, and their gradQ.
template <int R>
LUFFY_INLINE void backward_tile(const Backward& b, const BackwardScratch& x, int64_t row, int head, int local,
                                int64_t offset, int visible, bool first) {
  const int dim = b.heads.dim;
  const int most = smaller(kAttentionBlock, visible + R - 1);
  const int columns = (most + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  float* p = x.probabilities + local * kAttentionBlock;
  float* ds = x.grad_scores + local * kAttentionBlock;
  key_product<R>(dim, x.q + local * dim, dim, x.keys + offset * dim, columns, b.scale, p);
  key_product<R>(dim, x.grad_out + local * dim, dim, x.values + offset * dim, columns, 1.0f, ds);
  // What causality hides holds garbage afterwards, which the products below never touch.
  for (int r = 0; r < R; ++r) {
    const int64_t at = (row + r) * b.heads.queries + head;
    const Vec lse = vec(b.lse.f32()[at]);
    const Vec delta = vec(b.delta[at]);
    const Vec scale = vec(b.scale);
    for (int j = 0; j < columns; j += kLanes) {
      const int i = r * kAttentionBlock + j;
      const Vec probability = exp(sub(load(p + i), lse));
      store(p + i, probability);
      store(ds + i, mul(mul(probability, sub(load(ds + i), delta)), scale));
    }
  }
  alignas(64) float ones[R];
  for (int r = 0; r < R; ++r) ones[r] = 1.0f;
  const int common = smaller(kAttentionBlock, visible);
  value_product<R>(common, most - common, ds, x.key_rows + offset * dim, dim, dim, first, ones,
                   b.grad_q.row(row) + int64_t{head} * dim, b.grad_q.row_stride);
}

// Queries [from, to) of one head, which stand in x, against the panel's block of `count` keys at position `block`.
LUFFY_INLINE void backward_block(const Backward& b, const Sequence& s, int head, int64_t from, int64_t to,
                                 int64_t block, int64_t offset, int count, const BackwardScratch& x) {
  const int dim = b.heads.dim;
  for (int64_t p = larger(from, block), end; p < to; p = end) {
    end = tile_end(p, to, kTileRows);
    const int local = static_cast<int>(p - from);
    const int visible = static_cast<int>(smaller<int64_t>(kAttentionBlock, p - block + 1));
    with_rows(static_cast<int>(end - p), [&](auto rows) {
      backward_tile<decltype(rows)::value>(b, x, s.row(p), head, local, offset, visible, block == 0);
    });
  }
  const int queries = static_cast<int>(to - from);
  const int seen = static_cast<int>(smaller<int64_t>(count, to - block));
  for (int j = 0; j < seen; j += kTileRows) {
    const int first = static_cast<int>(larger<int64_t>(block + j - from, -kTileRows));
    with_rows(smaller(kTileRows, seen - j), [&](auto rows) {
      constexpr int R = decltype(rows)::value;
      query_product<R>(first, queries, x.probabilities + j, x.grad_out, dim, x.grad_values + (offset + j) * dim);
      query_product<R>(first, queries, x.grad_scores + j, x.q, dim, x.grad_keys + (offset + j) * dim);
    });
  }
}

// One query head against the packed keys [begin, end): gradQ, and the panel's dK and dV in x.
void backward_panel_head(const Backward& b, const Sequence& s, int head, int64_t begin, int64_t end,
                         const BackwardScratch& x) {
  const int dim = b.heads.dim;
  const size_t bytes = static_cast<size_t>(end - begin) * static_cast<size_t>(dim) * sizeof(float);
  __builtin_memset(x.grad_keys, 0, bytes);
  __builtin_memset(x.grad_values, 0, bytes);
  const int64_t positions = s.positions();
  for (int64_t from = larger<int64_t>(s.prefix_length, begin), to; from < positions; from = to) {
    to = tile_end(from, positions, kQueryRows);
    for (int64_t i = from; i < to; ++i) {
      const int64_t row = s.row(i);
      copy_row(b.q.row(row) + int64_t{head} * dim, dim, x.q + (i - from) * dim);
      copy_row(b.grad_out.row(row) + int64_t{head} * dim, dim, x.grad_out + (i - from) * dim);
    }
    for (int64_t block = begin; block < smaller(end, to); block += kAttentionBlock) {
      const int count = static_cast<int>(smaller<int64_t>(kAttentionBlock, end - block));
      backward_block(b, s, head, from, to, block, block - begin, count, x);
    }
  }
}

// Query heads [first, end) of one group against all keys of a sequence. emit(head, position, count) takes the panel's
// dK and dV from x.
template <class Emit>
LUFFY_INLINE void backward_sequence(const Backward& b, const Sequence& s, int first, int end, const BackwardScratch& x,
                                    Emit&& emit) {
  if (s.length == 0) return;
  const int dim = b.heads.dim;
  const int64_t column = int64_t{first / b.heads.per_group} * dim;
  const int64_t positions = s.positions();
  const float* rows[kAttentionBlock];
  for (int64_t begin = 0; begin < positions; begin += x.panel) {
    const int64_t panel_end = smaller(positions, begin + x.panel);
    for (int64_t block = begin; block < panel_end; block += kAttentionBlock) {
      const int count = static_cast<int>(smaller<int64_t>(kAttentionBlock, panel_end - block));
      const int64_t at = (block - begin) * dim;
      block_rows(s, b.k, column, block, count, rows);
      pack_transposed(rows, count, dim, x.keys + at);
      for (int j = 0; j < count; ++j) copy_row(rows[j], dim, x.key_rows + at + j * dim);
      block_rows(s, b.v, column, block, count, rows);
      pack_transposed(rows, count, dim, x.values + at);
    }
    for (int head = first; head < end; ++head) {
      backward_panel_head(b, s, head, begin, panel_end, x);
      emit(head, begin, panel_end - begin);
    }
  }
}

// A sequence's contributions, straight into gradK and gradV: its first query head starts the sums of its own rows.
void backward_in_place(const Backward& b, const Sequence& s, int group, const BackwardScratch& x, const Tensor& grad_k,
                       const Tensor& grad_v) {
  const int dim = b.heads.dim;
  const int first = group * b.heads.per_group;
  const int64_t column = int64_t{group} * dim;
  backward_sequence(b, s, first, first + b.heads.per_group, x, [&](int head, int64_t begin, int64_t count) {
    for (int64_t j = 0; j < count; ++j) {
      float* k = grad_k.row(s.row(begin + j)) + column;
      float* v = grad_v.row(s.row(begin + j)) + column;
      if (head == first && begin + j >= s.prefix_length) {
        copy_row(x.grad_keys + j * dim, dim, k);
        copy_row(x.grad_values + j * dim, dim, v);
      } else {
        add_row(x.grad_keys + j * dim, dim, k);
        add_row(x.grad_values + j * dim, dim, v);
      }
    }
  });
}

// Contributions of every (sequence, query head) in scratch: dK [positions][D], then dV.
struct Contributions {
  float* base;
  const int64_t* offset;  // [S]: where those of a sequence begin
  int dim;

  LUFFY_INLINE float* keys(const Sequence& s, int64_t sequence, int head) const {
    return base + offset[sequence] + 2 * head * s.positions() * dim;
  }
  LUFFY_INLINE float* values(const Sequence& s, int64_t sequence, int head) const {
    return keys(s, sequence, head) + s.positions() * dim;
  }
};

// Adds what the own rows of sequence `root` receive, in the order that backward_in_place adds it.
void add_contributions(const Contributions& all, const SequenceTable& table, const Groups& groups, int64_t root,
                       int group, int per_group, const Tensor& grad_k, const Tensor& grad_v) {
  const int dim = all.dim;
  const Sequence& s = table.rows[root];
  for (int32_t i = 0; i < s.length; ++i) {
    const int32_t row = s.start + i;
    float* k = grad_k.row(row) + int64_t{group} * dim;
    float* v = grad_v.row(row) + int64_t{group} * dim;
    for (int64_t from = root; from >= 0; from = s.prefix_length == 0 ? groups.next[from] : -1) {
      const Sequence& x = table.rows[from];
      const int64_t position = from == root ? int64_t{x.prefix_length} + i : int64_t{row} - x.prefix_start;
      if (x.length == 0 || position < 0 || (from != root && position >= x.prefix_length)) continue;
      for (int head = group * per_group; head < (group + 1) * per_group; ++head) {
        const float* dk = all.keys(x, from, head) + position * dim;
        const float* dv = all.values(x, from, head) + position * dim;
        if (from == root && head == group * per_group) {
          copy_row(dk, dim, k);
          copy_row(dv, dim, v);
        } else {
          add_row(dk, dim, k);
          add_row(dv, dim, v);
        }
      }
    }
  }
}

// Multiply-adds of one query head's pass over a sequence, per product.
LUFFY_INLINE int64_t sequence_work(const Sequence& s, int dim) {
  return (s.prefix_length + s.length / 2 + 1) * int64_t{s.length} * dim;
}

// Scratch that splitting by query head may take, in floats.
constexpr int64_t kMostContributions = int64_t{64} << 20;

}  // namespace

void attention_forward(Context& context, Tensor q, Tensor k, Tensor v, Tensor sequences, double scale, Tensor out,
                       Tensor lse) {
  Forward f;
  f.heads = read_heads(q, k, v, lse);
  check_heads("out", out, f.heads.tokens, f.heads.queries, f.heads.dim);
  const SequenceTable table = read_sequences(context, sequences, f.heads.tokens);
  f.q = q;
  f.k = k;
  f.v = v;
  f.out = out;
  f.lse = lse;
  f.scale = static_cast<float>(scale);

  // Long ranges spare packing, many ranges serve many threads; the bits are the same.
  int64_t chunk = f.heads.per_group <= 2 ? 512 : f.heads.per_group <= 4 ? 256 : f.heads.per_group <= 8 ? 128 : 64;
  int64_t count = make_ranges(table, chunk, nullptr);
  while (chunk > kAttentionBlock && count * f.heads.keys < 4 * int64_t{context.threads()}) {
    chunk /= 2;
    count = make_ranges(table, chunk, nullptr);
  }
  QueryRange* ranges = context.scratch<QueryRange>(count);
  make_ranges(table, chunk, ranges);

  const int64_t groups = f.heads.keys;
  const Portions portions = make_portions(context, count * groups, [&](int64_t unit) {
    const QueryRange& r = ranges[unit / groups];
    return (r.end - r.begin) * (r.begin + r.end) * f.heads.dim * f.heads.per_group;
  });
  const int64_t block = int64_t{f.heads.dim} * kAttentionBlock;
  const int64_t states = f.heads.per_group * chunk;
  const int64_t each = 2 * block + states * (1 + kLanes);
  float* base = context.scratch<float>(each * context.threads());
  parallel_for(context, portions.count, [&](int64_t index, int thread) {
    ForwardScratch x;
    x.keys = base + each * thread;
    x.values = x.keys + block;
    x.lane_sums = x.values + block;
    x.maximum = x.lane_sums + states * kLanes;
    for (int64_t unit = portions.bounds[index]; unit < portions.bounds[index + 1]; ++unit) {
      const QueryRange& range = ranges[unit / groups];
      if (unit + 1 < portions.bounds[index + 1]) {
        const QueryRange& next = ranges[(unit + 1) / groups];
        prefetch_block(table.rows[next.sequence], k, v, static_cast<int>((unit + 1) % groups), f.heads.dim, 0,
                       next.end);
      }
      forward_unit(f, table.rows[range.sequence], range, static_cast<int>(unit % groups), x);
    }
  });
}

void attention_backward(Context& context, Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                        Tensor sequences, double scale, Tensor grad_q, Tensor grad_k, Tensor grad_v) {
  LUFFY_CHECK(lse, "attention: lse is missing");
  Backward b;
  b.heads = read_heads(q, k, v, lse);
  const Heads& heads = b.heads;
  check_heads("gradOut", grad_out, heads.tokens, heads.queries, heads.dim);
  check_heads("out", out, heads.tokens, heads.queries, heads.dim);
  check_heads("gradQ", grad_q, heads.tokens, heads.queries, heads.dim);
  check_heads("gradK", grad_k, heads.tokens, heads.keys, heads.dim);
  check_heads("gradV", grad_v, heads.tokens, heads.keys, heads.dim);
  const SequenceTable table = read_sequences(context, sequences, heads.tokens);
  const Groups groups = make_groups(context, table);
  float* delta = context.scratch<float>(heads.tokens * heads.queries);
  b.grad_out = grad_out;
  b.q = q;
  b.k = k;
  b.v = v;
  b.out = out;
  b.lse = lse;
  b.grad_q = grad_q;
  b.scale = static_cast<float>(scale);
  b.delta = delta;

  const int64_t panel = backward_panel(heads.dim, table);
  const int64_t each = backward_scratch_size(heads.dim, panel);
  float* base = context.scratch<float>(each * context.threads());
  int64_t contributions = 0;
  int64_t* offset = context.scratch<int64_t>(table.count);
  for (int64_t i = 0; i < table.count; ++i) {
    offset[i] = contributions;
    contributions += 2 * table.rows[i].positions() * heads.queries * heads.dim;
  }

  const bool split = context.threads() > 1 && groups.count * heads.keys < 4 * context.threads() &&
                     table.count * heads.queries > groups.count * heads.keys && contributions <= kMostContributions;
  if (!split) {
    const Portions portions = make_portions(context, groups.count * heads.keys, [&](int64_t unit) {
      int64_t work = 0;
      for (int32_t i = groups.roots[unit / heads.keys]; i >= 0; i = groups.next[i]) {
        work += sequence_work(table.rows[i], heads.dim);
      }
      return 5 * work * heads.per_group;
    });
    parallel_for(context, portions.count, [&](int64_t index, int thread) {
      const BackwardScratch x = cut_backward_scratch(base + each * thread, heads.dim, panel);
      for (int64_t unit = portions.bounds[index]; unit < portions.bounds[index + 1]; ++unit) {
        const int group = static_cast<int>(unit % heads.keys);
        for (int32_t i = groups.roots[unit / heads.keys]; i >= 0; i = groups.next[i]) {
          compute_delta(b, table.rows[i], group * heads.per_group, (group + 1) * heads.per_group, delta);
          backward_in_place(b, table.rows[i], group, x, grad_k, grad_v);
        }
      }
    });
    return;
  }

  const Contributions all = {context.scratch<float>(contributions), offset, heads.dim};
  const Portions portions = make_portions(context, table.count * heads.queries, [&](int64_t unit) {
    return 5 * sequence_work(table.rows[unit / heads.queries], heads.dim);
  });
  parallel_for(context, portions.count, [&](int64_t index, int thread) {
    const BackwardScratch x = cut_backward_scratch(base + each * thread, heads.dim, panel);
    for (int64_t unit = portions.bounds[index]; unit < portions.bounds[index + 1]; ++unit) {
      const int64_t sequence = unit / heads.queries;
      const int head = static_cast<int>(unit % heads.queries);
      const Sequence& s = table.rows[sequence];
      compute_delta(b, s, head, head + 1, delta);
      backward_sequence(b, s, head, head + 1, x, [&](int, int64_t begin, int64_t count) {
        const size_t bytes = static_cast<size_t>(count) * static_cast<size_t>(heads.dim) * sizeof(float);
        __builtin_memcpy(all.keys(s, sequence, head) + begin * heads.dim, x.grad_keys, bytes);
        __builtin_memcpy(all.values(s, sequence, head) + begin * heads.dim, x.grad_values, bytes);
      });
    }
  });
  const Portions sums = make_portions(context, table.count * heads.keys, [&](int64_t unit) {
    return int64_t{table.rows[unit / heads.keys].length} * heads.dim * heads.per_group * 16;
  });
  parallel_for(context, sums.count, [&](int64_t index, int) {
    for (int64_t unit = sums.bounds[index]; unit < sums.bounds[index + 1]; ++unit) {
      add_contributions(all, table, groups, unit / heads.keys, static_cast<int>(unit % heads.keys), heads.per_group,
                        grad_k, grad_v);
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
