// The `data` section of a configuration: the files of a run, what their columns are, and how their rows become prompts.
import { z } from 'zod'
import { defaultColumns } from '../data/rows.js'
import { rewardNames } from '../rewards/named-rewards.js'

const count = z.int().min(1)
const path = z.string().min(1)
const paths = z.union([path, z.array(path).min(1)])

export const dataSchema = z.strictObject({
  train: paths,
  /** Each source of their rows is an evaluation set. */
  eval: paths.optional(),
  columns: z
    .strictObject({
      prompt: path.default(defaultColumns.prompt),
      demonstration: path.default(defaultColumns.demonstration),
      answer: path.default(defaultColumns.answer),
      source: path.default(defaultColumns.source),
    })
    .prefault({}),
  /** auto: the model's own; luffy; none; or a file. */
  template: path.default('auto'),
  reward: z.enum(rewardNames).default('exactMatch'),
  maxPromptLength: count.default(1024),
  skipBadRows: z.boolean().default(false),
  /** A row that a filter would leave out is an error. */
  strict: z.boolean().default(false),
  /** Rows among which the order is random. */
  windowRows: count.default(4096),
  /** Most prompts per evaluation set. */
  evalRows: count.default(200),
})
