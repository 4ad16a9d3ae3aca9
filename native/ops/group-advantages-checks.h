// group-advantages: its arguments as every backend checks them.
#pragma once

#include "group-advantages.h"

namespace luffy {
namespace LUFFY_BACKEND {

struct BaselineChoice {
  bool on_policy_only;  // the statistics of a group are those of its on-policy answers
  bool scaled;          // by its standard deviation
};

LUFFY_INLINE BaselineChoice check_group_advantages(const Tensor& rewards, const Tensor& groups,
                                                   const Tensor& off_policy, const AdvantageOptions& options,
                                                   const Tensor& advantages) {
  const char* op = "group-advantages";
  check_vector(op, "rewards", rewards, DType::f32, -1);
  const int64_t count = rewards.shape[0];
  check_vector(op, "groups", groups, DType::i32, count);
  check_vector(op, "offPolicy", off_policy, DType::u8, count);
  check_vector(op, "advantages", advantages, DType::f32, count);
  LUFFY_CHECK(options.baseline >= 0 && options.baseline <= 3, "%s: no baseline has number %lld", op,
              static_cast<long long>(options.baseline));
  LUFFY_CHECK(options.epsilon >= 0, "%s: expected epsilon >= 0, got %g", op, options.epsilon);
  LUFFY_CHECK(options.clip >= 0, "%s: expected clip >= 0, got %g", op, options.clip);
  const Baseline baseline = static_cast<Baseline>(options.baseline);
  return {baseline == Baseline::on_policy_mean || baseline == Baseline::on_policy_mean_std,
          baseline == Baseline::mean_std || baseline == Baseline::on_policy_mean_std};
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
