// Every case, in the order of the table: the ones with a floor first, then op by op.
import type { BenchCase } from './bench.js'
import { memoryCases } from './memory.js'
import { adamwBench } from './ops/adamw.js'
import { attentionBench } from './ops/attention.js'
import { attentionDecodeBench } from './ops/attention-decode.js'
import { castBench } from './ops/cast.js'
import { embeddingBench } from './ops/embedding.js'
import { gatherRowsBench } from './ops/gather-rows.js'
import { gradientNormBench } from './ops/gradient-norm.js'
import { groupAdvantagesBench } from './ops/group-advantages.js'
import { linearBench } from './ops/linear.js'
import { linearPolicyLossBench } from './ops/linear-policy-loss.js'
import { lossCases } from './ops/logits-policy-loss.js'
import { productCases } from './ops/matmul.js'
import { policyLossBench } from './ops/policy-loss.js'
import { reduceBench } from './ops/reduce.js'
import { rmsNormBench } from './ops/rms-norm.js'
import { ropeBench } from './ops/rope.js'
import { sampleTokensBench } from './ops/sample-tokens.js'
import { swigluBench } from './ops/swiglu.js'
import { tokenLogProbBench } from './ops/token-log-prob.js'
import { samplingCases } from './sampling.js'
import { sharedPromptCases } from './shared-prompts.js'
import { trainingCases } from './training.js'

export const cases: readonly BenchCase[] = [
  ...productCases,
  ...lossCases,
  ...trainingCases,
  ...samplingCases,
  ...sharedPromptCases,
  ...memoryCases,
  embeddingBench,
  linearBench,
  rmsNormBench,
  ropeBench,
  swigluBench,
  attentionBench,
  attentionDecodeBench,
  gatherRowsBench,
  tokenLogProbBench,
  policyLossBench,
  linearPolicyLossBench,
  groupAdvantagesBench,
  adamwBench,
  gradientNormBench,
  reduceBench,
  castBench,
  sampleTokensBench,
]
