// attention-sequences: what attention's forward and backward share besides arithmetic: the table of packed
// sequences with its checks, and work cut in portions that are worth a thread. Private to attention.cpp and
// attention-decode.cpp.
#pragma once

#include "attention-heads.h"
#include "attention-tile.h"

namespace luffy {
namespace LUFFY_BACKEND {

// A row of the table `sequences`.
struct Sequence {
  int32_t start, length, prefix_start, prefix_length;

  // Positions count from the first token of the prefix.
  LUFFY_INLINE int64_t positions() const { return int64_t{prefix_length} + length; }
  LUFFY_INLINE int64_t row(int64_t position) const {
    return position < prefix_length ? prefix_start + position : start + (position - prefix_length);
  }
};

struct SequenceTable {
  int64_t count;
  const Sequence* rows;
  const int32_t* root;  // [count]: the sequence that owns the prefix; itself where there is none
};

LUFFY_INLINE SequenceTable read_sequences(Context& context, const Tensor& sequences, int64_t tokens) {
  check_matrix("attention", "sequences", sequences, DType::i32, -1, 4);
  SequenceTable table;
  table.count = sequences.shape[0];
  table.rows = static_cast<const Sequence*>(sequences.data);
  int32_t* root = context.scratch<int32_t>(table.count);
  int32_t* owner = context.scratch<int32_t>(tokens);
  for (int64_t t = 0; t < tokens; ++t) owner[t] = -1;
  for (int64_t s = 0; s < table.count; ++s) {
    const Sequence& x = table.rows[s];
    LUFFY_CHECK(x.start >= 0 && x.length >= 0 && int64_t{x.start} + x.length <= tokens,
                "attention: sequence %" PRId64 " has rows [%d, +%d) of %" PRId64, s, x.start, x.length, tokens);
    for (int32_t t = x.start; t < x.start + x.length; ++t) {
      LUFFY_CHECK(owner[t] < 0, "attention: sequences %d and %" PRId64 " both own row %d", owner[t], s, t);
      owner[t] = static_cast<int32_t>(s);
    }
  }
  for (int64_t s = 0; s < table.count; ++s) {
    const Sequence& x = table.rows[s];
    root[s] = static_cast<int32_t>(s);
    if (x.prefix_length == 0) continue;
    const int64_t end = int64_t{x.prefix_start} + x.prefix_length;
    LUFFY_CHECK(x.prefix_start >= 0 && x.prefix_length > 0 && end <= tokens,
                "attention: sequence %" PRId64 " has prefix rows [%d, +%d) of %" PRId64, s, x.prefix_start,
                x.prefix_length, tokens);
    const int32_t from = owner[x.prefix_start];
    LUFFY_CHECK(from >= 0 && from != s && owner[end - 1] == from && table.rows[from].prefix_length == 0,
                "attention: the prefix [%d, +%d) of sequence %" PRId64
                " must lie inside another sequence, which has no prefix",
                x.prefix_start, x.prefix_length, s);
    root[s] = from;
  }
  table.root = root;
  return table;
}

// Queries at positions [begin, end) of a sequence.
struct QueryRange {
  int32_t sequence;
  int64_t begin, end;
};

// Ranges of at most `chunk` queries, aligned to blocks. `ranges` null: only counts them. A sequence's last queries,
// which see most keys, come first.
LUFFY_INLINE int64_t make_ranges(const SequenceTable& table, int64_t chunk, QueryRange* ranges) {
  int64_t count = 0;
  for (int64_t i = 0; i < table.count; ++i) {
    const Sequence& s = table.rows[i];
    const int64_t first = s.prefix_length;
    for (int64_t end = s.positions(); end > first;) {
      const int64_t begin = larger(first, (end - 1) / chunk * chunk);
      if (ranges != nullptr) ranges[count] = {static_cast<int32_t>(i), begin, end};
      ++count;
      end = begin;
    }
  }
  return count;
}

// Sequences in groups: a root and, ascending, those that share its rows.
struct Groups {
  const int32_t* next;  // [S]: the next sequence of the same group, -1 at its end
  const int32_t* roots;
  int64_t count;
};

LUFFY_INLINE Groups make_groups(Context& context, const SequenceTable& table) {
  int32_t* next = context.scratch<int32_t>(table.count);
  int32_t* roots = context.scratch<int32_t>(table.count);
  for (int64_t i = 0; i < table.count; ++i) next[i] = -1;
  // From the last to the first, each is put right behind its root.
  for (int64_t i = table.count - 1; i >= 0; --i) {
    const int32_t root = table.root[i];
    if (root == i) continue;
    next[i] = next[root];
    next[root] = static_cast<int32_t>(i);
  }
  int64_t count = 0;
  for (int64_t i = 0; i < table.count; ++i) {
    if (table.root[i] == i) roots[count++] = static_cast<int32_t>(i);
  }
  return {next, roots, count};
}

// Units of work joined, in order, into portions of at least kPortion multiply-adds (some 30 microseconds).
constexpr int64_t kPortion = int64_t{2} << 20;

struct Portions {
  int64_t count;
  const int64_t* bounds;  // [count + 1]
};

template <class Work>
LUFFY_INLINE Portions make_portions(Context& context, int64_t units, Work&& work) {
  int64_t* bounds = context.scratch<int64_t>(units + 1);
  int64_t count = 0, sum = 0;
  bounds[0] = 0;
  for (int64_t u = 0; u < units; ++u) {
    sum += work(u);
    if (sum < kPortion && u + 1 < units) continue;
    bounds[++count] = u + 1;
    sum = 0;
  }
  return {count, bounds};
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
