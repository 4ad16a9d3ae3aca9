#include "fault.h"

#include <cstdio>

namespace luffy {

namespace {

const char* op_name(FaultOp op) {
  switch (op) {
    case FaultOp::attention:
      return "attention";
    case FaultOp::attention_decode:
      return "attention-decode";
    case FaultOp::embedding:
      return "embedding";
    case FaultOp::gather_rows:
      return "gather-rows";
    case FaultOp::kv_cache_append:
      return "kv-cache-append";
    case FaultOp::kv_cache_copy:
      return "kv-cache-copy";
    case FaultOp::linear_log_prob:
      return "linear-log-prob";
    case FaultOp::linear_policy_loss:
      return "linear-policy-loss";
    case FaultOp::logits_policy_loss:
      return "logits-policy-loss";
    case FaultOp::policy_loss:
      return "policy-loss";
    case FaultOp::rope:
      return "rope";
    case FaultOp::token_log_prob:
      return "token-log-prob";
    case FaultOp::token_log_prob_backward:
      return "token-log-prob (backward)";
  }
  return "unknown op";
}

const char* index_name(FaultOp op) {
  if (op == FaultOp::gather_rows) return "rows";
  return op == FaultOp::rope ? "positions" : "tokens";
}

}  // namespace

void clear_faults(FaultRecord& record) {
  record = FaultRecord{};
  record.key = ~0ull;
}

void fault_message(const FaultRecord& record, char* text, size_t bytes) {
  const auto op = static_cast<FaultOp>(record.op);
  const auto kind = static_cast<FaultKind>(record.key >> 60 & 15);
  const auto row = static_cast<long long>(record.key >> 32) & kLastFaultRow;
  const int value = static_cast<int>(static_cast<uint32_t>(record.key));
  const int* more = record.details;
  const auto at = static_cast<unsigned>(kind) < kFaultKinds ? static_cast<unsigned>(kind) : 0u;
  const long long limit = record.limits[at];
  const char* name = op_name(op);
  switch (kind) {
    case FaultKind::index:
      std::snprintf(text, bytes, "%s: %s[%lld] is %d, outside [0, %lld)", name, index_name(op), row, value, limit);
      break;
    case FaultKind::token:
      std::snprintf(text, bytes, "%s: tokens[%lld] is %d, outside a vocabulary of %lld", name, row, value, limit);
      break;
    case FaultKind::token_kind:
      std::snprintf(text, bytes, "%s: kinds[%lld]: no kind of token has number %d", name, row, value);
      break;
    case FaultKind::length:
      std::snprintf(text, bytes, "%s: sequence %lld has %d keys, its blocks hold %lld", name, row, value, limit);
      break;
    case FaultKind::block:
      std::snprintf(text, bytes, "%s: block %d of sequence %lld is not one of the cache's %lld", name, value, row,
                    limit);
      break;
    case FaultKind::slot:
      std::snprintf(text, bytes, "%s: slot %d of token %lld is not one of the cache's %lld", name, value, row, limit);
      break;
    case FaultKind::copied_block:
      std::snprintf(text, bytes, "%s: block %d is not one of the cache's %lld", name, value, limit);
      break;
    case FaultKind::rows:
      std::snprintf(text, bytes, "%s: sequence %lld has rows [%d, +%d) of %d", name, row, value, more[0], more[1]);
      break;
    case FaultKind::owners:
      std::snprintf(text, bytes, "%s: sequences %d and %lld both own row %d", name, more[0], row, value);
      break;
    case FaultKind::prefix:
      std::snprintf(text, bytes, "%s: sequence %lld has prefix rows [%d, +%d) of %d", name, row, value, more[0],
                    more[1]);
      break;
    case FaultKind::prefix_place:
      std::snprintf(text, bytes,
                    "%s: the prefix [%d, +%d) of sequence %lld must lie inside another sequence, which has no prefix",
                    name, value, more[0], row);
      break;
    default:
      std::snprintf(text, bytes, "%s: a kernel found fault %llx in its arguments", name, record.key);
  }
}

}  // namespace luffy
