// The benchmarks of the paper and the two suites that it reports, by the sources that the authors' files name.

export interface Benchmark {
  name: string
  title: string
  /** Values of the rows' source column. */
  sources: readonly string[]
  /** Samples per prompt: 32 where few prompts make one sample too noisy. */
  samplesPerPrompt: number
  /** The user's message ends with lettered options, and the answer is a letter. */
  isMultipleChoice: boolean
}

const math = (name: string, title: string, sources: readonly string[], samplesPerPrompt = 1): Benchmark => ({
  name,
  title,
  sources,
  samplesPerPrompt,
  isMultipleChoice: false,
})

const choice = (name: string, title: string, sources: readonly string[]): Benchmark => ({
  name,
  title,
  sources,
  samplesPerPrompt: 1,
  isMultipleChoice: true,
})

export const suites = {
  math: [
    math('aime24', 'AIME 24', ['aime', 'aime24'], 32),
    math('aime25', 'AIME 25', ['aime25'], 32),
    math('amc', 'AMC', ['amc'], 32),
    math('math500', 'MATH-500', ['math', 'math500']),
    math('minerva', 'Minerva', ['minerva']),
    math('olympiad', 'OlympiadBench', ['olympiad_bench', 'olympiad']),
  ],
  ood: [
    choice('arcC', 'ARC-c', ['arc_c']),
    choice('gpqaDiamond', 'GPQA-diamond', ['gpqa', 'gpqa_diamond']),
    choice('mmluPro', 'MMLU-Pro', ['mmlu_pro']),
  ],
} as const satisfies Record<string, readonly Benchmark[]>

export type SuiteName = keyof typeof suites
export const suiteNames = Object.keys(suites) as SuiteName[]
