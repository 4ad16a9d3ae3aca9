// Faults: what a kernel on a device finds wrong in the CONTENTS of its arguments (a token outside the vocabulary, a
// block that the cache has not). The CPU throws; a kernel cannot, and nothing may wait for it inside an op. So it leaves
// a record in pinned memory, and the next wait of the stream throws what the CPU would have thrown (cuda-runtime.cu).
//
// The first op that finds something owns the record; of what it finds the smallest key stays, so that the message does
// not depend on the order of threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace luffy {

enum class FaultOp : int32_t {
  attention,
  attention_decode,
  embedding,
  gather_rows,
  kv_cache_append,
  kv_cache_copy,
  linear_log_prob,
  linear_policy_loss,
  logits_policy_loss,
  policy_loss,
  rope,
  token_log_prob,
  token_log_prob_backward,
};

// In the order in which an op on the CPU checks them.
enum class FaultKind : uint32_t {
  index,         // row, value, limit: value is outside [0, limit)
  token,         // row, value, limit: outside a vocabulary of limit
  token_kind,    // row, value
  length,        // sequence, keys, limit
  block,         // sequence, block, limit
  slot,          // token, slot, limit
  copied_block,  // pair, block, limit
  rows,          // of attention's table, as the three below: sequence, start; details: length, tokens
  owners,        // sequence, row; details: the other sequence
  prefix,        // sequence, start; details: length, tokens
  prefix_place,  // sequence, start; details: length
};
constexpr int kFaultKinds = 11;

struct FaultRecord {
  unsigned long long sequence;  // of the op on its stream, from 1; 0: nothing was found
  unsigned long long key;       // kind, row and value, see fault_key
  int op;                       // a FaultOp
  int details[2];
  long long limits[kFaultKinds];
};

// 4 bits of kind, 28 of row (the last stands for every later one), 32 of value.
constexpr int64_t kLastFaultRow = (int64_t{1} << 28) - 1;

// What kernels are given: whose faults these are, and where its first row stands in the caller's op.
struct FaultSink {
  FaultRecord* record = nullptr;
  uint64_t sequence = 0;
  int64_t first_row = 0;
  FaultOp op = FaultOp::attention;
};

// An empty record; and the message of a full one, as the CPU words it (300 bytes hold every one).
void clear_faults(FaultRecord& record);
void fault_message(const FaultRecord& record, char* text, size_t bytes);

}  // namespace luffy
