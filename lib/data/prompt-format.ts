// Rows as the model sees them: the chat template makes the prompt, and the demonstration follows it as the policy should
// have written it. Also the filters that need the tokens of both.
import { TemplateError } from '../errors.js'
import type { ChatTemplate } from '../policy/chat-template.js'
import { demonstrationAfter } from '../policy/luffy-template.js'
import type { Tokenizer } from '../policy/tokenizer-simple.js'
import type { RowFilter } from './data-set.js'
import type { DataRow } from './rows.js'

/** A row ready to be tokenized; a `TaskItem` of lib/rewards. */
export interface FormattedRow {
  prompt: string
  answer: string
  /** The trace, without a think tag that the prompt has opened, and with the end token. */
  demonstration?: string
  row: DataRow
}

export class PromptFormat {
  readonly tokenizer: Tokenizer
  readonly template: ChatTemplate | undefined
  readonly #endText: string

  /** Without a template the prompt is the messages' contents, with an empty line between them. */
  constructor(tokenizer: Tokenizer, template: ChatTemplate | undefined) {
    this.tokenizer = tokenizer
    this.template = template
    this.#endText = tokenizer.decode([tokenizer.endId])
  }

  /** @throws {TemplateError} naming the row */
  async format(rows: readonly DataRow[]): Promise<FormattedRow[]> {
    const prompts = await this.#prompts(rows)
    return rows.map((row, i) => {
      const prompt = prompts[i] as string
      const formatted: FormattedRow = { prompt, answer: row.answer ?? '', row }
      if (row.demonstration !== undefined) {
        formatted.demonstration = demonstrationAfter(prompt, row.demonstration, this.#endText)
      }
      return formatted
    })
  }

  async #prompts(rows: readonly DataRow[]): Promise<string[]> {
    const conversations = rows.map(({ messages }) => messages)
    if (this.template === undefined) {
      return conversations.map(messages => messages.map(({ content }) => content).join('\n\n'))
    }
    try {
      return await this.template.renderAll(conversations)
    } catch (error) {
      if (!TemplateError.isInstance(error)) throw error
      const row = rows[Number(error.details?.conversation)]
      throw new TemplateError(`${row?.where ?? 'a row'}: ${error.message}`, { cause: error })
    }
  }

  /** Leaves out rows whose prompt has more than `most` tokens. */
  promptTooLong(most: number): RowFilter {
    return {
      name: 'promptTooLong',
      drops: async rows => {
        const formatted = await this.format(rows)
        return formatted.map(({ prompt }) => this.#isLonger(prompt, most))
      },
    }
  }

  /** Leaves out rows whose demonstration has more than `most` tokens, its end token counted. */
  demonstrationTooLong(most: number): RowFilter {
    return {
      name: 'demonstrationTooLong',
      drops: async rows => {
        const formatted = await this.format(rows)
        return formatted.map(
          ({ demonstration }) => demonstration !== undefined && this.#isLonger(demonstration, most),
        )
      },
    }
  }

  // A token stands for a byte at least, and normal forms are at most three times as long as what they stand for: many
  // texts need not be tokenized to know that they are short enough.
  #isLonger(text: string, most: number): boolean {
    return 3 * Buffer.byteLength(text) > most && this.tokenizer.encode(text).length > most
  }
}

/** Leaves out rows whose demonstration is there and says nothing. */
export const emptyDemonstration: RowFilter = {
  name: 'emptyDemonstration',
  drops: rows =>
    rows.map(
      ({ demonstration }) =>
        demonstration !== undefined && demonstration.replace(/^\s*<think>/, '').trim() === '',
    ),
}

/** Leaves out rows without a reference answer, or with one that the reward cannot read. */
export function unreadableAnswer(isReadable: (answer: string) => boolean): RowFilter {
  return {
    name: 'unreadableAnswer',
    drops: rows => rows.map(({ answer }) => answer === undefined || !isReadable(answer)),
  }
}
