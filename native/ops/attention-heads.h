// attention-heads: the arguments of attention as every backend checks them, and a row of the table of sequences. Private to
// attention and attention-decode.
#pragma once

#include <cinttypes>

#include "attention.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Head dimensions that the kernels and their scratch are made for.
LUFFY_INLINE void check_head_dim(const char* op, int64_t dim) {
  LUFFY_CHECK(dim >= 8 && dim <= 256 && dim % 2 == 0, "%s: expected an even head dimension from 8 to 256, got %" PRId64,
              op, dim);
}

struct Heads {
  int64_t tokens = 0;
  int queries = 0;    // H
  int keys = 0;       // K
  int per_group = 0;  // H / K
  int dim = 0;        // D
};

// q, k, v, out and their gradients: [T, heads * D], or [T, heads, D].
LUFFY_INLINE void check_heads(const char* name, const Tensor& t, int64_t tokens, int64_t heads, int64_t dim,
                              DType dtype = DType::f32) {
  if (t.rank != 3) return check_rows("attention", name, t, dtype, tokens, heads * dim);
  LUFFY_CHECK(t, "attention: %s is missing", name);
  LUFFY_CHECK(t.dtype == dtype, "attention: expected %s of %s, got %s", name, dtype_name(dtype), dtype_name(t.dtype));
  LUFFY_CHECK(t.shape[0] == tokens && t.shape[1] == heads && t.shape[2] == dim,
              "attention: expected %s [%" PRId64 ", %" PRId64 ", %" PRId64 "], got [%" PRId64 ", %" PRId64 ", %" PRId64
              "]",
              name, tokens, heads, dim, t.shape[0], t.shape[1], t.shape[2]);
}

// The heads follow from lse[T, H] or, where it is absent, from q of rank 3.
LUFFY_INLINE Heads read_heads(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lse,
                              DType dtype = DType::f32) {
  LUFFY_CHECK(q, "attention: q is missing");
  LUFFY_CHECK(k, "attention: k is missing");
  LUFFY_CHECK(lse || q.rank == 3, "attention: without lse, q must be [T, heads, D]: the number of heads is unknown");
  const int64_t heads = q.rank == 3 ? q.shape[1] : lse.shape[1];
  LUFFY_CHECK(heads > 0 && q.row_size() % heads == 0, "attention: q has %" PRId64 " columns for %" PRId64 " heads",
              q.row_size(), heads);
  const int64_t dim = q.row_size() / heads;
  check_head_dim("attention", dim);
  const int64_t keys = k.row_size() / dim;
  LUFFY_CHECK(keys > 0 && heads % keys == 0 && keys * dim == k.row_size(),
              "attention: k has %" PRId64 " columns, which does not suit %" PRId64 " query heads of %" PRId64,
              k.row_size(), heads, dim);
  const int64_t tokens = q.shape[0];
  check_heads("q", q, tokens, heads, dim, dtype);
  check_heads("k", k, tokens, keys, dim, dtype);
  check_heads("v", v, tokens, keys, dim, dtype);
  if (lse) check_matrix("attention", "lse", lse, DType::f32, tokens, heads);
  Heads result;
  result.tokens = tokens;
  result.queries = static_cast<int>(heads);
  result.keys = static_cast<int>(keys);
  result.per_group = static_cast<int>(heads / keys);
  result.dim = static_cast<int>(dim);
  return result;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
