// How a kernel leaves a fault (see fault.h). It goes on afterwards with what is harmless: the element is passed over.
#pragma once

#include "fault.h"

namespace luffy {
namespace cuda {

DEV uint64_t fault_key(FaultKind kind, int64_t row, int32_t value) {
  const int64_t bounded = row < kLastFaultRow ? row : kLastFaultRow;
  return static_cast<uint64_t>(kind) << 60 | static_cast<uint64_t>(bounded) << 32 | static_cast<uint32_t>(value);
}

// Whether the record is this op's, which it is for the first op that asks.
DEV bool owns_faults(const FaultSink& sink) {
  const unsigned long long owner =
      atomicCAS(&sink.record->sequence, 0ull, static_cast<unsigned long long>(sink.sequence));
  return owner == 0 || owner == sink.sequence;
}

// Any thread may call it, several at a time.
DEV void leave_fault(const FaultSink& sink, FaultKind kind, int64_t row, int32_t value, int64_t limit = 0) {
  if (!owns_faults(sink)) return;
  // All of an op write the same here.
  atomicExch(&sink.record->op, static_cast<int>(sink.op));
  atomicExch(reinterpret_cast<unsigned long long*>(&sink.record->limits[static_cast<int>(kind)]),
             static_cast<unsigned long long>(limit));
  atomicMin(&sink.record->key, static_cast<unsigned long long>(fault_key(kind, sink.first_row + row, value)));
}

// One thread of the op alone may call it.
DEV void leave_detailed_fault(const FaultSink& sink, FaultKind kind, int64_t row, int32_t value, int32_t first,
                              int32_t second) {
  if (!owns_faults(sink)) return;
  sink.record->op = static_cast<int>(sink.op);
  sink.record->details[0] = first;
  sink.record->details[1] = second;
  sink.record->key = fault_key(kind, sink.first_row + row, value);
}

}  // namespace cuda
}  // namespace luffy
