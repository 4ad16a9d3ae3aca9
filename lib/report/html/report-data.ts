// What a report is made from and what comes out: the types that `luffy report` and `luffy compare` share.

/** A run to show. */
export interface ReportRun {
  /** The run folder: metrics.jsonl, completions/, config.yaml; what is missing there is left out of the page. */
  folder: string
  /** What it is called in legends: runs of the same name are seeds of one line (default: method of config.yaml). */
  method?: string
  /** The seed (default: that of config.yaml). */
  seed?: number
}

/** How well a method did on a set of prompts. */
export interface MethodAccuracy {
  /** As in `ReportRun.method`, so that both get the same colour. */
  method: string
  /** The evaluation set. */
  set: string
  /** Mean accuracy, 0 to 1. */
  mean: number
  /** Standard error of the mean; left out where there is one run only. */
  standardError?: number
  /** Runs that the mean is of. */
  runs?: number
}

export interface ReportOptions {
  runs: readonly ReportRun[]
  /** Default: the last evaluation in each run's metrics.jsonl, mean and standard error over the runs of a method. */
  accuracies?: readonly MethodAccuracy[]
  /** What `accuracies` are, in words below the chart: `held-out prompts, temperature 0.6`. */
  accuracyNote?: string
  /** Heading of the page (default: the methods or the name of the run). */
  title?: string
  /** Where the page is written (default: report.html in the first run folder). */
  out?: string
  /** A folder for the pictures as SVG files, one a figure; none by default. */
  svg?: string
}

export interface ReportResult {
  /** The page. */
  file: string
  bytes: number
  /** The SVG files. */
  pictures: string[]
  /** What was left out or could not be read, in words. Foreign text in it is not escaped. */
  notices: string[]
}
