// sample-tokens: draws one token per row of logits.
//
//   logits[B, V] float32 (read only). Temperature first, then top-k, then top-p (nucleus over what top-k kept), then
//   min-p (relative to the largest probability); temperature 0 = greedy, lowest index on ties. topK 0, topP 1, minP 0 = off.
//   counters[B, 3] int32 {prompt, sample, position}: with the seed, all that a draw depends on (random.h, Philox);
//   row b of any batch draws what it would draw alone.
//   tokens[B] int32 =; logProbs[B] = under softmax(logits / temperature) before any filter, bit-equal to token-log-prob
//   at that temperature (greedy: at temperature 1); drawnLogProbs[B] = under the filtered distribution the token was
//   drawn from (greedy: 0). entropy[B] = of the unfiltered distribution, optional.
//   bad[B] int32 =: 1 where a row holds NaN or +infinity or only -infinity (its token is then 0), else 0.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {

struct SamplingOptions {
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double seed = 0;  // a non-negative safe integer

  template <class Visitor>
  static void fields(Visitor&& visit) {
    visit("temperature", &SamplingOptions::temperature);
    visit("topK", &SamplingOptions::top_k);
    visit("topP", &SamplingOptions::top_p);
    visit("minP", &SamplingOptions::min_p);
    visit("seed", &SamplingOptions::seed);
  }
};

namespace LUFFY_BACKEND {

void sample_tokens(Context& context, Tensor logits, Tensor counters, SamplingOptions options, Tensor tokens,
                   Tensor log_probs, Tensor drawn_log_probs, Tensor entropy /* optional */, Tensor bad);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
