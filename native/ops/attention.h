// attention: causal, grouped-query, over packed sequences that may share a prefix of keys. No T x T matrix in memory.
//
//   q[T, H*D], k[T, K*D], v[T, K*D], out[T, H*D] float32, or on CUDA all bfloat16; rows may be strided; H a multiple of K;
//   D from 8 to 256, even.
//   Query head h reads key/value head h / (H / K). lse[T, H] float32: the log of each softmax's normaliser (saved).
//   sequences[S, 4] int32, a row each: {start, length, prefixStart, prefixLength}. The sequence's own tokens are rows
//   [start, start + length); before them it sees rows [prefixStart, prefixStart + prefixLength) of k and v, all of
//   them, as positions 0 .. prefixLength - 1; its own tokens follow, causally. Own ranges are disjoint; rows of q that
//   no sequence owns are left alone; a prefix lies inside the own range of another sequence, which has no prefix.
//   forward   out =, lse = (optional: not written when absent).
//   backward  gradQ =, gradK =, gradV = for every row that some sequence owns (gradients that a prefix receives from
//             the sequences that share it are added in ascending order of sequence).
//             On CUDA also in bfloat16, as q is: all but lse. Products are summed in float32; weights and their gradients
//             are rounded to bfloat16 as factors of the next product, results once. Key blocks begin at position 0 here too.
//   Scores are q·k * scale; each q·k is accumulated over d in ascending order. Keys are walked in blocks of
//   kAttentionBlock positions, counted from position 0 of the sequence (prefix included), so that a query's bits
//   depend on its keys alone: not on how they are split between prefix and own rows, nor on the other sequences, nor
//   on threads; attention-decode gives the same bits.
//   In bfloat16 products are summed in float32 and so are the softmax's sums; its weights are rounded to bfloat16 before
//   they meet the values.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {

constexpr int kAttentionBlock = 64;
// Keys of a block that stand together transposed, in scratch and in the cache; causality masks whole groups away.
constexpr int kKeyGroup = 16;

namespace LUFFY_BACKEND {

void attention_forward(Context& context, Tensor q, Tensor k, Tensor v, Tensor sequences, double scale, Tensor out,
                       Tensor lse /* optional */);
void attention_backward(Context& context, Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                        Tensor sequences, double scale, Tensor grad_q, Tensor grad_k, Tensor grad_v);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
