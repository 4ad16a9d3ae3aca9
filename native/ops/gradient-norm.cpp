// gradient-norm on the CPU: the sum of squares of `reduce`, one number at the end. See gradient-norm.h.
#include "gradient-norm.h"

#include "reduce.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

double reduced(Context& context, const Tensor& x, Reduction reduction) {
  double result = 0;
  Tensor out;
  out.data = &result;
  out.dtype = DType::f64;
  out.rank = 1;
  reduce(context, x, static_cast<int64_t>(reduction), out);
  return result;
}

}  // namespace

void gradient_norm(Context& context, Tensor grads, double max_norm, Tensor control) {
  check_vector("gradient-norm", "grads", grads, DType::f32, -1);
  check_vector("gradient-norm", "control", control, DType::f32, 4);
  LUFFY_CHECK(max_norm >= 0, "gradient-norm: maxNorm is %g", max_norm);

  // Finite floats cannot overflow a float64 sum of squares, so the sum is finite when all of them are.
  const double norm = __builtin_sqrt(reduced(context, grads, Reduction::sum_of_squares));
  const float stored = static_cast<float>(norm);
  const bool ok = __builtin_isfinite(stored);
  const double factor = max_norm > 0 ? max_norm / (norm + 1e-6) : 1.0;
  float* result = control.f32();
  result[0] = stored;
  result[1] = ok ? static_cast<float>(factor < 1.0 ? factor : 1.0) : 0.0f;
  result[2] = ok ? 1.0f : 0.0f;
  result[3] = ok ? 0.0f : static_cast<float>(reduced(context, grads, Reduction::non_finite));
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
