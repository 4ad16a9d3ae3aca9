// What a method asks of the loss: the constants of the token objective, the kinds of token, the sums it reports.
// Shared by policy-loss, logits-policy-loss and linear-policy-loss on every backend.
#pragma once

#include <cstdint>

#include "../core/macros.h"

namespace luffy {

// Kind of a token (uint8). Masked tokens contribute to nothing, whatever their other inputs hold (NaN included).
enum TokenKind : uint8_t { kMasked = 0, kOnPolicy = 1, kOffPolicy = 2, kSupervised = 3 };

enum class Shaping : int32_t { none = 0, regularized = 1, sqrt = 2, power = 3 };

// Detached factor phi on the loss of a supervised token: 1; p (DFT, arXiv 2508.05629); p (1 - p) (CHORD, arXiv 2508.11408).
enum class SupervisedWeight : int32_t { none = 0, probability = 1, uncertainty = 2 };

struct PolicyObjective {
  double clip_low = 0;  // PPO clip of the on-policy ratio to [1 - clip_low, 1 + clip_high]; both 0 = no clip
  double clip_high = 0;
  double dual_clip = 0;           // bound c > 1 on -A r for A < 0 (loss <= -c A); 0 = off
  double log_ratio_clamp = 0;     // on-policy log-ratio limited to [-x, x]; 0 = off
  int64_t shaping = 0;            // Shaping, of the off-policy ratio
  double gamma = 0.1;             // regularized: p / (p + gamma)
  double exponent = 1;            // power: p^exponent
  double off_policy_cap = 0;      // upper bound on the shaped off-policy ratio; 0 = off
  int64_t supervised_weight = 0;  // SupervisedWeight
  double kl_coef = 0;             // k3 KL to the reference policy, reduced like the token losses
  double entropy_share = 0;       // entropy coefficient / number of unmasked tokens of the whole update

  // Names and members for the border: the addon reads an object with these camel-cased names.
  template <class Visitor>
  static void fields(Visitor&& visit) {
    visit("clipLow", &PolicyObjective::clip_low);
    visit("clipHigh", &PolicyObjective::clip_high);
    visit("dualClip", &PolicyObjective::dual_clip);
    visit("logRatioClamp", &PolicyObjective::log_ratio_clamp);
    visit("shaping", &PolicyObjective::shaping);
    visit("gamma", &PolicyObjective::gamma);
    visit("exponent", &PolicyObjective::exponent);
    visit("offPolicyCap", &PolicyObjective::off_policy_cap);
    visit("supervisedWeight", &PolicyObjective::supervised_weight);
    visit("klCoef", &PolicyObjective::kl_coef);
    visit("entropyShare", &PolicyObjective::entropy_share);
  }
};

// The sums that the loss kernels add to `metrics[kMetricCount]` (float64, +=). Means are taken by the caller, over the
// whole update. Order is part of the border: lib/ops/policy-objective.ts names the same indices.
enum Metric : int {
  kMetricPolicyLoss = 0,  // sum of weight * (token loss + klCoef * k3), the policy loss of the update
  kMetricEntropy = 1,     // sum of entropies over unmasked tokens
  kMetricTokens = 2,      // unmasked tokens
  kMetricOnPolicyTokens = 3,
  kMetricOffPolicyTokens = 4,
  kMetricSupervisedTokens = 5,
  kMetricOnPolicyLoss = 6,  // sum of unweighted token losses, on-policy
  kMetricOffPolicyLoss = 7,
  kMetricSupervisedLoss = 8,  // sum of -phi logProb, supervised
  kMetricClipped = 9,         // on-policy tokens where the clip binds (as PPO counts: clipped loss > unclipped loss)
  kMetricApproxKl = 10,       // sum of old - new log-probability, on-policy
  kMetricOnPolicyProbability = 11,   // sum of exp(oldLogProbs), on-policy
  kMetricOffPolicyProbability = 12,  // sum of exp(logProbs), off-policy
  kMetricOffPolicyRatio = 13,        // sum of the shaped, capped ratio, off-policy
  kMetricReferenceKl = 14,           // sum of k3 over unmasked tokens
  kMetricRatioClamped = 15,          // on-policy tokens whose log-ratio met the clamp
  kMetricOffPolicyUnderflow = 16,    // off-policy tokens whose probability is 0 in float32
  kMetricNonFinite = 17,             // unmasked tokens whose loss or gradient is not finite
  kMetricCount = 18
};

}  // namespace luffy
