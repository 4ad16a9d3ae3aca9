// Shuffles, votes, matches and reductions of a warp: what the last lane to come computes for all.
#include "machine.h"

namespace emulator {

namespace {

struct ShuffleLane {
  uint64_t value, result;
  unsigned operand, width;
  Shuffle kind;
  int outside;  // the lane read from, when the mask does not name it
};

void combine_shuffle(void* const lanes[32], uint32_t mask) {
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) == 0) continue;
    ShuffleLane& mine = *static_cast<ShuffleLane*>(lanes[i]);
    const unsigned low = i & ~(mine.width - 1), high = low + mine.width - 1;
    unsigned from = i;
    if (mine.kind == Shuffle::index) from = low + (mine.operand & (mine.width - 1));
    if (mine.kind == Shuffle::up && i >= low + mine.operand) from = i - mine.operand;
    if (mine.kind == Shuffle::down && i + mine.operand <= high) from = i + mine.operand;
    if (mine.kind == Shuffle::exclusive_or && (i ^ mine.operand) <= high) from = i ^ mine.operand;
    if ((mask >> from & 1) == 0) {
      mine.outside = static_cast<int>(from);
      continue;
    }
    mine.result = static_cast<ShuffleLane*>(lanes[from])->value;
  }
}

struct VoteLane {
  uint64_t value;
  uint32_t result;
  Reduction reduction;
  bool is_signed;
};

void combine_ballot(void* const lanes[32], uint32_t mask) {
  uint32_t result = 0;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1) != 0 && static_cast<VoteLane*>(lanes[i])->value != 0) result |= 1u << i;
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1) != 0) static_cast<VoteLane*>(lanes[i])->result = result;
}

void combine_match(void* const lanes[32], uint32_t mask) {
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) == 0) continue;
    VoteLane& mine = *static_cast<VoteLane*>(lanes[i]);
    mine.result = 0;
    for (unsigned j = 0; j < 32; ++j)
      if ((mask >> j & 1) != 0 && static_cast<VoteLane*>(lanes[j])->value == mine.value) mine.result |= 1u << j;
  }
}

uint32_t reduce_two(const VoteLane& how, uint32_t a, uint32_t b) {
  switch (how.reduction) {
    case Reduction::add:
      return a + b;
    case Reduction::bit_and:
      return a & b;
    case Reduction::bit_or:
      return a | b;
    case Reduction::bit_xor:
      return a ^ b;
    default:
      break;
  }
  const bool less = how.is_signed ? static_cast<int32_t>(a) < static_cast<int32_t>(b) : a < b;
  return (how.reduction == Reduction::minimum) == less ? a : b;
}

void combine_reduce(void* const lanes[32], uint32_t mask) {
  bool first = true;
  uint32_t result = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) == 0) continue;
    const VoteLane& mine = *static_cast<VoteLane*>(lanes[i]);
    const uint32_t value = static_cast<uint32_t>(mine.value);
    result = first ? value : reduce_two(mine, result, value);
    first = false;
  }
  for (unsigned i = 0; i < 32; ++i)
    if ((mask >> i & 1) != 0) static_cast<VoteLane*>(lanes[i])->result = result;
}

}  // namespace

uint64_t shuffle(Shuffle kind, uint32_t mask, uint64_t value, unsigned operand, unsigned width, Site site) {
  ShuffleLane mine{value, value, operand, width, kind, -1};
  collective(Collective::shuffle, mask, &mine, combine_shuffle, site);
  if (mine.outside >= 0)
    kernel_error("shuffle at %s:%d reads lane %d, which mask %08x does not name", short_name(site), site.line,
                 mine.outside, mask);
  return mine.result;
}

uint32_t ballot(uint32_t mask, bool predicate, Site site) {
  VoteLane mine{predicate, 0, Reduction::add, false};
  collective(Collective::ballot, mask, &mine, combine_ballot, site);
  return mine.result;
}

uint32_t match_any(uint32_t mask, uint64_t value, Site site) {
  VoteLane mine{value, 0, Reduction::add, false};
  collective(Collective::match, mask, &mine, combine_match, site);
  return mine.result;
}

uint32_t reduce(Reduction kind, bool is_signed, uint32_t mask, uint32_t value, Site site) {
  VoteLane mine{value, 0, kind, is_signed};
  collective(Collective::reduce, mask, &mine, combine_reduce, site);
  return mine.result;
}

}  // namespace emulator
