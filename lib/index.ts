// The public surface, names only.

export {
  type CompareEvent,
  type CompareOptions,
  type CompareResult,
  compare,
  type FailedRun,
} from './compare/compare.js'
export type { CompareConfig } from './compare/compare-config.js'
export { DataSet, type OpenDataOptions, type RowFilter } from './data/data-set.js'
export { type TrainingRow, type WriteRowsOptions, writeTrainingRows } from './data/parquet-write.js'
export {
  emptyDemonstration,
  type FormattedRow,
  PromptFormat,
  unreadableAnswer,
} from './data/prompt-format.js'
export type { DataColumns, DataRow } from './data/rows.js'
export * from './errors.js'
export { type EvaluationReport, evaluate } from './evaluation/evaluate.js'
export type { EvaluateOptions, EvaluationProgress } from './evaluation/evaluate-options.js'
export type { BenchmarkReport } from './evaluation/report.js'
export { passAtK } from './evaluation/statistics.js'
export { type MethodName, methods } from './methods/index.js'
export {
  type AdvantageOptions,
  type GroupRewards,
  groupAdvantages,
  type LogitsPolicyLossInputs,
  type LogitsPolicyLossResult,
  logitsPolicyLoss,
  type NdArray,
  type NumericArray,
  type PolicyLossInputs,
  type PolicyLossResult,
  policyLoss,
} from './methods/losses.js'
export type { MethodMemory, RecallContext, Replay, StepPrompts } from './methods/memory.js'
export type { Method, MethodChange, RatedMember } from './methods/method.js'
export type { MethodNumbers, MethodOption } from './methods/options.js'
export type { Baseline } from './ops/group-advantages.js'
export type { LossMetrics, LossReduction, Objective, Shaping } from './ops/policy-objective.js'
export { type ChatMessage, ChatTemplate, type RenderOptions } from './policy/chat-template.js'
export type { PolicyConfig, PolicyOptions } from './policy/config.js'
export { type DownloadProgress, type ModelFolderOptions, modelFolder } from './policy/hub.js'
export { demonstrationAfter, luffySystemPrompt, luffyTemplate } from './policy/luffy-template.js'
export type { SequenceLogProbs } from './policy/policy-model.js'
export { HuggingFaceTokenizer, StreamingDecoder } from './policy/tokenizer-hugging-face.js'
export { loadTokenizer } from './policy/tokenizer-load.js'
export { CharacterTokenizer, type Tokenizer } from './policy/tokenizer-simple.js'
export type { MethodAccuracy, ReportOptions, ReportResult, ReportRun } from './report/html/report-data.js'
export { writeReport } from './report/html/write-report.js'
export { type Accuracy, type AccuracyOptions, measureAccuracy } from './rewards/accuracy.js'
export { exactMatchReward } from './rewards/exact-match.js'
export { type MathReward, type MathRewardOptions, mathReward } from './rewards/math.js'
export {
  type Reward,
  type RewardInput,
  type RewardResult,
  type RewardValue,
  type ScoredCompletions,
  scoreCompletions,
} from './rewards/reward.js'
export type { EvaluationSet, Task, TaskItem } from './rewards/task.js'
export {
  type AnswerVerdict,
  isReadableReference,
  type VerifyAnswerOptions,
  verifyAnswer,
} from './rewards/verify/verify-answer.js'
export type { Completion, SampleOptions, SampleProgress } from './sampler/options.js'
export {
  Policy,
  type PolicyCreateOptions,
  type PolicyLoadOptions,
  type PolicySaveOptions,
} from './sampler/policy.js'
export type { ComputeDtype } from './tensor/compute-dtype.js'
export { Device, type DeviceOptions } from './tensor/device.js'
export { type DivergedRun, readDiverged } from './training/diverged.js'
export type { GroupMember, PreparedGroups, TrainGroup } from './training/groups.js'
export { metricName, type StepMetrics } from './training/metrics.js'
export { type PretrainOptions, pretrain } from './training/pretrain.js'
export type { CompletionRow } from './training/run-folder.js'
export { type OpChainsOptions, opChainsTask } from './training/tasks.js'
export { type TrainEvent, type TrainOptions, type TrainResult, train } from './training/train.js'
export { type ResolvedTrainConfig, resolveTrainConfig, type TrainConfig } from './training/train-config.js'
export { Trainer, type TrainerState, type TrainStepOptions } from './training/trainer.js'
export type { OptimizerOptions, TrainerOptions } from './training/trainer-options.js'
