// group-advantages on CUDA: members sorted by group, then one thread for each group. See group-advantages.h. Float64
// inside, members in ascending order: the CPU's arithmetic to the bit.
//
// Bound by its launches: a step has a few thousand responses in groups of eight to a hundred.
#include "group-advantages.h"

#include "group-advantages-checks.h"
#include "sort-keys.cuh"

namespace luffy {
namespace cuda {

constexpr int kGroupBlock = 64;

struct GroupOptions {
  bool on_policy_only, scaled;
  double epsilon, clip, on_policy_weight, off_policy_weight;
};

struct GroupMembers {
  const uint64_t* pairs;
  const float* rewards;
  const uint8_t* off_policy;
  bool on_policy_only;

  DEV uint32_t at(int64_t place) const { return position_of(ld(pairs + place)); }
  DEV double reward(int64_t place) const { return ld(rewards + at(place)); }
  DEV bool is_off(int64_t place) const { return ld(off_policy + at(place)) != 0; }
  // Whether the member counts for mean and deviation.
  DEV bool counts(int64_t place) const { return !(on_policy_only && is_off(place)); }
};

// The products of a group, written out so that no multiply-add rounds otherwise than the CPU.
DEV double group_scale(const GroupMembers& group, const GroupOptions& options, int64_t begin, int64_t end, double mean,
                       int64_t members) {
  double squares = 0;
  for (int64_t i = begin; i < end; ++i) {
    if (!group.counts(i)) continue;
    const double deviation = group.reward(i) - mean;
    squares = __dadd_rn(squares, __dmul_rn(deviation, deviation));
  }
  double deviation = members > 1 ? sqrt(squares / static_cast<double>(members - 1)) : 1.0;
  if (options.on_policy_only && deviation == 0.0) deviation = 1.0;
  return deviation + options.epsilon;
}

KERNEL(kGroupBlock)
group_advantages_kernel(const uint64_t* pairs, const float* rewards, const uint8_t* off_policy, int64_t count,
                        GroupOptions options, float* advantages) {
  const GroupMembers group{pairs, rewards, off_policy, options.on_policy_only};
  for (int64_t begin = grid_thread(); begin < count; begin += grid_step()) {
    const uint32_t id = key_of(ld(pairs + begin));
    // The thread of a group's first member does all of them.
    if (begin > 0 && key_of(ld(pairs + begin - 1)) == id) continue;
    int64_t end = begin;
    int64_t members = 0;
    double sum = 0;
    for (; end < count && key_of(ld(pairs + end)) == id; ++end) {
      if (!group.counts(end)) continue;
      members += 1;
      sum += group.reward(end);
    }
    const double mean = members > 1 ? sum / static_cast<double>(members) : 0.0;
    const double scale = options.scaled ? group_scale(group, options, begin, end, mean, members) : 1.0;
    for (int64_t i = begin; i < end; ++i) {
      const double centred = group.reward(i) - mean;
      // A group of equal rewards has nothing to teach, even where epsilon is 0.
      double advantage = centred == 0.0 ? 0.0 : centred / scale;
      if (options.clip > 0) {
        if (advantage > options.clip) advantage = options.clip;
        if (advantage < -options.clip) advantage = -options.clip;
      }
      const double weight = group.is_off(i) ? options.off_policy_weight : options.on_policy_weight;
      st(advantages + group.at(i), static_cast<float>(advantage * weight));
    }
  }
}

void group_advantages(Context& context, Tensor rewards, Tensor groups, Tensor off_policy, AdvantageOptions options,
                      Tensor advantages) {
  const BaselineChoice choice = check_group_advantages(rewards, groups, off_policy, options, advantages);
  const int64_t count = rewards.shape[0];
  if (count == 0) return;

  const GroupOptions how{choice.on_policy_only,    choice.scaled,
                         options.epsilon,          options.clip,
                         options.on_policy_weight, options.off_policy_weight};
  const uint64_t* pairs = sort_keys(context, "group-advantages", groups.i32(), count, uint64_t{1} << 32);
  launch<group_advantages_kernel>(
      Launch(dim3(blocks_for(count, kGroupBlock)), dim3(kGroupBlock), 0, stream_of(context)), pairs,
      static_cast<const float*>(rewards.f32()), static_cast<const uint8_t*>(off_policy.u8()), count, how,
      advantages.f32());
}

}  // namespace cuda
}  // namespace luffy
