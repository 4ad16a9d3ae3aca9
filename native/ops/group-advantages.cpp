// group-advantages on the CPU. See group-advantages.h. Float64 inside, members in ascending order, one thread: a step
// has a few thousand responses.
#include "group-advantages.h"

#include "group-advantages-checks.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

struct Group {
  int32_t id;
  int64_t members;  // that count for the mean
  double sum;
  double squares;  // of deviations from the mean
  double mean;
  double scale;
};

// Groups by id: open addressing over a power of two at least twice the number of members.
struct GroupTable {
  Group* groups;
  int64_t* slots;  // index into groups, or -1
  int64_t mask;
  int64_t count;

  LUFFY_INLINE int64_t index_of(int32_t id) {
    uint64_t hash = static_cast<uint32_t>(id) * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
    for (int64_t slot = static_cast<int64_t>(hash) & mask;; slot = (slot + 1) & mask) {
      if (slots[slot] < 0) {
        groups[count] = {id, 0, 0.0, 0.0, 0.0, 1.0};
        slots[slot] = count;
        return count++;
      }
      if (groups[slots[slot]].id == id) return slots[slot];
    }
  }
};

GroupTable make_table(Context& context, int64_t members) {
  int64_t size = 4;
  while (size < 2 * members) size *= 2;
  GroupTable table = {context.scratch<Group>(members), context.scratch<int64_t>(size), size - 1, 0};
  for (int64_t i = 0; i < size; ++i) table.slots[i] = -1;
  return table;
}

}  // namespace

void group_advantages(Context& context, Tensor rewards, Tensor groups, Tensor off_policy, AdvantageOptions options,
                      Tensor advantages) {
  const auto [on_policy_only, scaled] = check_group_advantages(rewards, groups, off_policy, options, advantages);
  const int64_t count = rewards.shape[0];
  const float* reward = rewards.f32();
  const uint8_t* off = off_policy.u8();

  GroupTable table = make_table(context, count);
  int64_t* group_of = context.scratch<int64_t>(count);
  for (int64_t i = 0; i < count; ++i) {
    group_of[i] = table.index_of(groups.i32()[i]);
    if (on_policy_only && off[i]) continue;
    Group& group = table.groups[group_of[i]];
    group.members += 1;
    group.sum += reward[i];
  }
  for (int64_t g = 0; g < table.count; ++g) {
    Group& group = table.groups[g];
    group.mean = group.members > 1 ? group.sum / static_cast<double>(group.members) : 0.0;
  }
  if (scaled) {
    for (int64_t i = 0; i < count; ++i) {
      if (on_policy_only && off[i]) continue;
      Group& group = table.groups[group_of[i]];
      const double deviation = reward[i] - group.mean;
      group.squares += deviation * deviation;
    }
    for (int64_t g = 0; g < table.count; ++g) {
      Group& group = table.groups[g];
      double std = 1.0;
      if (group.members > 1) std = __builtin_sqrt(group.squares / static_cast<double>(group.members - 1));
      if (on_policy_only && std == 0.0) std = 1.0;
      group.scale = std + options.epsilon;
    }
  }

  for (int64_t i = 0; i < count; ++i) {
    const Group& group = table.groups[group_of[i]];
    const double centred = reward[i] - group.mean;
    // A group of equal rewards has nothing to teach, even where epsilon is 0.
    double advantage = centred == 0.0 ? 0.0 : centred / group.scale;
    if (options.clip > 0) {
      if (advantage > options.clip) advantage = options.clip;
      if (advantage < -options.clip) advantage = -options.clip;
    }
    const double weight = off[i] ? options.off_policy_weight : options.on_policy_weight;
    advantages.f32()[i] = static_cast<float>(advantage * weight);
  }
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
