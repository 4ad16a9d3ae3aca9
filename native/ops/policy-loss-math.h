// The token objective, its derivative and its metrics for one token: the one place where the formula of policy-loss.h
// is written, for every backend (this header compiles as CUDA too, hence no library types and no namespaces of it).
//
// Everything is a closed form in log space, so that no step divides or multiplies by a probability that underflowed.
// Where a clip or a cap binds the derivative is 0; exactly on its boundary it is that of the unbounded branch.
#pragma once

#include "policy-objective.h"

#if defined(__CUDACC__)
#define LUFFY_HD __host__ __device__
#else
#define LUFFY_HD
#endif

namespace luffy {

// What the formula reads. Members whose flag is off are never used, nor is anything when the kind is kMasked.
template <class Real>
struct TokenInput {
  TokenKind kind;
  bool has_old;  // otherwise the old log-probability is the current one
  bool has_reference;
  bool has_teacher;  // otherwise the teacher's probability is 1
  Real log_prob;     // may be more exact than float32, in which old ones are kept
  Real old_log_prob;
  Real advantage;
  Real weight;
  Real reference_log_prob;
  Real teacher_prob;
};

template <class Real>
struct TokenLoss {
  TokenKind kind;
  bool clipped;
  bool ratio_clamped;
  bool underflow;
  bool finite;        // loss and gradient both are, the gradient as the float32 number it is stored as
  Real loss;          // weight * (objective + klCoef * k3)
  Real gradient;      // d loss / d logProb
  Real objective;     // without weight
  Real ratio;         // off-policy: shaped and capped
  Real probability;   // on-policy: of the old policy; off-policy: of the current one
  Real log_ratio;     // on-policy: old - new log-probability, before the clamp
  Real reference_kl;  // k3
};

namespace policy_math {

#if defined(__CUDACC__)
LUFFY_HD LUFFY_INLINE double exp_of(double x) { return ::exp(x); }
LUFFY_HD LUFFY_INLINE double expm1_of(double x) { return ::expm1(x); }
LUFFY_HD LUFFY_INLINE double log_of(double x) { return ::log(x); }
LUFFY_HD LUFFY_INLINE float exp_of(float x) { return ::expf(x); }
LUFFY_HD LUFFY_INLINE float expm1_of(float x) { return ::expm1f(x); }
LUFFY_HD LUFFY_INLINE float log_of(float x) { return ::logf(x); }
#else
LUFFY_HD LUFFY_INLINE double exp_of(double x) { return __builtin_exp(x); }
LUFFY_HD LUFFY_INLINE double expm1_of(double x) { return __builtin_expm1(x); }
LUFFY_HD LUFFY_INLINE double log_of(double x) { return __builtin_log(x); }
LUFFY_HD LUFFY_INLINE float exp_of(float x) { return __builtin_expf(x); }
LUFFY_HD LUFFY_INLINE float expm1_of(float x) { return __builtin_expm1f(x); }
LUFFY_HD LUFFY_INLINE float log_of(float x) { return __builtin_logf(x); }
#endif

// False for NaN and both infinities of the value as float32.
template <class Real>
LUFFY_HD LUFFY_INLINE bool is_finite(Real x) {
  const float y = static_cast<float>(x);
  return y - y == 0.0f;
}

// f(p / teacher) and d f / d logProb, before the cap.
template <class Real>
LUFFY_HD LUFFY_INLINE void shape_ratio(const PolicyObjective& objective, Real log_x, Real* f, Real* derivative) {
  switch (static_cast<Shaping>(objective.shaping)) {
    case Shaping::regularized: {
      // f = x / (x + gamma) and 1 - f, written so that x = infinity gives 1 and 0.
      const Real x = exp_of(log_x);
      const Real gamma = static_cast<Real>(objective.gamma);
      *f = Real(1) / (Real(1) + gamma / x);
      *derivative = *f * (gamma / (x + gamma));
      return;
    }
    case Shaping::sqrt:
      *f = exp_of(Real(0.5) * log_x);
      *derivative = Real(0.5) * *f;
      return;
    case Shaping::power: {
      const Real exponent = static_cast<Real>(objective.exponent);
      *f = exp_of(exponent * log_x);
      *derivative = exponent * *f;
      return;
    }
    case Shaping::none:
      break;
  }
  *f = exp_of(log_x);
  *derivative = *f;
}

template <class Real>
LUFFY_HD LUFFY_INLINE void on_policy(const PolicyObjective& objective, const TokenInput<Real>& in, TokenLoss<Real>* out,
                                     Real* gradient) {
  const Real old = in.has_old ? in.old_log_prob : in.log_prob;
  out->probability = exp_of(old);

  // Old log-probabilities are stored in float32; where the current one rounds to the same number the policy has not
  // moved. So too without old ones, where the ratio is p / p_detached: 1, with derivative 1.
  Real difference = in.log_prob - old;
  if (static_cast<float>(in.log_prob) == static_cast<float>(old)) difference = Real(0);
  out->log_ratio = -difference;
  bool moves = true;
  const Real clamp = static_cast<Real>(objective.log_ratio_clamp);
  if (clamp > Real(0) && (difference > clamp || difference < -clamp)) {
    difference = difference > Real(0) ? clamp : -clamp;
    out->ratio_clamped = true;
    moves = false;
  }
  const Real ratio = exp_of(difference);
  Real loss = -in.advantage * ratio;

  if (objective.clip_low > 0 || objective.clip_high > 0) {
    const Real low = static_cast<Real>(1 - objective.clip_low);
    const Real high = static_cast<Real>(1 + objective.clip_high);
    const Real clipped = -in.advantage * (ratio < low ? low : ratio > high ? high : ratio);
    if (clipped > loss) {
      loss = clipped;
      out->clipped = true;
      moves = false;
    }
  }
  if (objective.dual_clip > 0 && in.advantage < Real(0)) {
    const Real bound = -in.advantage * static_cast<Real>(objective.dual_clip);
    if (loss > bound) {
      loss = bound;
      moves = false;
    }
  }
  out->objective = loss;
  *gradient = moves ? loss : Real(0);  // d(-A r) / d logProb = -A r
}

template <class Real>
LUFFY_HD LUFFY_INLINE void off_policy(const PolicyObjective& objective, const TokenInput<Real>& in,
                                      TokenLoss<Real>* out, Real* gradient) {
  const Real p = exp_of(in.log_prob);
  out->probability = p;
  // A probability that is 0 in float32 teaches nothing: loss and gradient are exactly 0, whatever the shaping.
  if (static_cast<float>(p) == 0.0f) {
    out->underflow = true;
    *gradient = Real(0);
    return;
  }
  const Real log_x = in.has_teacher ? in.log_prob - log_of(in.teacher_prob) : in.log_prob;
  Real f, derivative;
  shape_ratio(objective, log_x, &f, &derivative);
  const Real cap = static_cast<Real>(objective.off_policy_cap);
  if (cap > Real(0) && f > cap) {
    f = cap;
    derivative = Real(0);
  }
  out->ratio = f;
  out->objective = -in.advantage * f;
  *gradient = -in.advantage * derivative;
}

// -phi log p, phi a constant for the derivative. Where phi is 0 both are, also where log p is not finite.
template <class Real>
LUFFY_HD LUFFY_INLINE void supervised(const PolicyObjective& objective, const TokenInput<Real>& in,
                                      TokenLoss<Real>* out, Real* gradient) {
  Real phi = Real(1);
  const SupervisedWeight weight = static_cast<SupervisedWeight>(objective.supervised_weight);
  if (weight != SupervisedWeight::none) {
    phi = exp_of(in.log_prob);
    if (weight == SupervisedWeight::uncertainty) phi *= -expm1_of(in.log_prob);
    if (static_cast<float>(phi) == 0.0f) {
      *gradient = Real(0);
      return;
    }
  }
  out->objective = -phi * in.log_prob;
  *gradient = -phi;
}

}  // namespace policy_math

template <class Real>
LUFFY_HD LUFFY_INLINE TokenLoss<Real> token_loss(const PolicyObjective& objective, const TokenInput<Real>& in) {
  TokenLoss<Real> out = {in.kind, false, false, false, true, 0, 0, 0, 0, 0, 0, 0};
  if (in.kind == kMasked) return out;

  Real gradient = 0;
  if (in.kind == kOnPolicy) {
    policy_math::on_policy(objective, in, &out, &gradient);
  } else if (in.kind == kOffPolicy) {
    policy_math::off_policy(objective, in, &out, &gradient);
  } else {
    policy_math::supervised(objective, in, &out, &gradient);
  }

  Real loss = out.objective;
  if (in.has_reference) {
    const Real x = in.reference_log_prob - in.log_prob;
    const Real growth = policy_math::expm1_of(x);
    out.reference_kl = growth - x;
    if (objective.kl_coef > 0) {
      loss += static_cast<Real>(objective.kl_coef) * out.reference_kl;
      gradient -= static_cast<Real>(objective.kl_coef) * growth;
    }
  }
  out.loss = in.weight * loss;
  out.gradient = in.weight * gradient;
  out.finite = policy_math::is_finite(out.loss) && policy_math::is_finite(out.gradient);
  return out;
}

// Adds one token to the sums of policy-objective.h.
template <class Real>
LUFFY_HD LUFFY_INLINE void add_token_metrics(const TokenLoss<Real>& token, double entropy, double* metrics) {
  if (token.kind == kMasked) return;
  metrics[kMetricPolicyLoss] += token.loss;
  metrics[kMetricEntropy] += entropy;
  metrics[kMetricTokens] += 1;
  metrics[kMetricReferenceKl] += token.reference_kl;
  if (!token.finite) metrics[kMetricNonFinite] += 1;
  if (token.kind == kOnPolicy) {
    metrics[kMetricOnPolicyTokens] += 1;
    metrics[kMetricOnPolicyLoss] += token.objective;
    metrics[kMetricOnPolicyProbability] += token.probability;
    metrics[kMetricApproxKl] += token.log_ratio;
    if (token.clipped) metrics[kMetricClipped] += 1;
    if (token.ratio_clamped) metrics[kMetricRatioClamped] += 1;
  } else if (token.kind == kOffPolicy) {
    metrics[kMetricOffPolicyTokens] += 1;
    metrics[kMetricOffPolicyLoss] += token.objective;
    metrics[kMetricOffPolicyProbability] += token.probability;
    metrics[kMetricOffPolicyRatio] += token.ratio;
    if (token.underflow) metrics[kMetricOffPolicyUnderflow] += 1;
  } else {
    metrics[kMetricSupervisedTokens] += 1;
    metrics[kMetricSupervisedLoss] += token.objective;
  }
}

}  // namespace luffy
