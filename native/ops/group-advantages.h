// group-advantages: A_i = (R_i - mean) / scale per group, on- and off-policy members together or on-policy ones only.
//
//   rewards[N] float32, groups[N] int32 (any ids; members of a group need not be adjacent), offPolicy[N] uint8,
//   advantages[N] float32 (=). mean: of the whole group, or of its on-policy members. scale: 1, or std + epsilon with
//   the unbiased std of the members whose mean is taken. One such member: mean 0 and std 1; an on-policy std of 0 is
//   replaced by 1; no such member: mean 0, std 1. Then clipped to [-clip, clip] (0 = off), then weighted by kind.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {

enum class Baseline : int32_t { mean = 0, mean_std = 1, on_policy_mean = 2, on_policy_mean_std = 3 };

struct AdvantageOptions {
  int64_t baseline = 0;
  double epsilon = 1e-6;
  double clip = 0;
  double on_policy_weight = 1;
  double off_policy_weight = 1;

  template <class Visitor>
  static void fields(Visitor&& visit) {
    visit("baseline", &AdvantageOptions::baseline);
    visit("epsilon", &AdvantageOptions::epsilon);
    visit("clip", &AdvantageOptions::clip);
    visit("onPolicyWeight", &AdvantageOptions::on_policy_weight);
    visit("offPolicyWeight", &AdvantageOptions::off_policy_weight);
  }
};

namespace LUFFY_BACKEND {

void group_advantages(Context& context, Tensor rewards, Tensor groups, Tensor off_policy, AdvantageOptions options,
                      Tensor advantages);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
