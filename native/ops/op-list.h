// Every op, once. The table of functions that a backend exports and the rows of the addon are made from these lists;
// an op's JavaScript name is its name here in camel case.
#pragma once

#include "adamw.h"
#include "attention-decode.h"
#include "attention.h"
#include "cast.h"
#include "embedding.h"
#include "gather-rows.h"
#include "gradient-norm.h"
#include "group-advantages.h"
#include "linear-policy-loss.h"
#include "linear.h"
#include "logits-policy-loss.h"
#include "matmul.h"
#include "policy-loss.h"
#include "reduce.h"
#include "rms-norm.h"
#include "rope.h"
#include "sample-tokens.h"
#include "swiglu.h"
#include "token-log-prob.h"

// Ops: enqueued on the device's stream.
#define LUFFY_OPS(X)         \
  X(adamw)                   \
  X(add_rows)                \
  X(attention_backward)      \
  X(attention_decode)        \
  X(attention_forward)       \
  X(cast)                    \
  X(embedding_backward)      \
  X(embedding_forward)       \
  X(fill)                    \
  X(gather_rows_backward)    \
  X(gather_rows_forward)     \
  X(gradient_norm)           \
  X(group_advantages)        \
  X(kv_cache_append)         \
  X(kv_cache_copy)           \
  X(linear_backward_input)   \
  X(linear_backward_weight)  \
  X(linear_forward)          \
  X(linear_log_prob)         \
  X(linear_pack)             \
  X(linear_policy_loss)      \
  X(linear_swiglu_forward)   \
  X(logits_policy_loss)      \
  X(matmul)                  \
  X(policy_loss)             \
  X(reduce)                  \
  X(rms_norm_backward)       \
  X(rms_norm_forward)        \
  X(rope)                    \
  X(sample_tokens)           \
  X(swiglu_backward)         \
  X(swiglu_forward)          \
  X(token_log_prob_backward) \
  X(token_log_prob_forward)

// Queries: pure functions of sizes, answered at once.
#define LUFFY_QUERIES(X) X(linear_packed_size)

namespace luffy {

// What a backend is: one pointer per op. Signatures are those of the headers above.
struct OpTable {
#define LUFFY_DECLARE(name) decltype(&LUFFY_BACKEND::name) name;
  LUFFY_OPS(LUFFY_DECLARE)
  LUFFY_QUERIES(LUFFY_DECLARE)
#undef LUFFY_DECLARE
};

}  // namespace luffy
