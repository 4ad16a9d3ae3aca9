// Chat templates: from messages to the text that a policy continues. A template is code of whoever published the model,
// so it runs in a worker, within the limits of template-engine.ts and for two seconds at most.
import { TemplateError } from '../errors.js'
import { LimitedWorker, WorkerFailure } from '../io/limited-worker.js'
import { describeValue } from '../options.js'
import type { TemplateReply, TemplateRequest } from './template-worker.js'

export interface ChatMessage {
  role: string
  content: string
}

export interface RenderOptions {
  /** End with what opens the assistant's turn. Default true. */
  addGenerationPrompt?: boolean
  /** Further variables of the template, such as `enable_thinking`. */
  variables?: Readonly<Record<string, unknown>>
}

const mostCharacters = 1024 * 1024
const watchdogMs = 2000
/** Conversations per request to the worker. */
const batch = 256

const worker = new LimitedWorker(new URL('./template-worker.js', import.meta.url), { heapMb: 256 })

export class ChatTemplate {
  readonly text: string
  /** The file it comes from, for messages. */
  readonly source: string
  /** bos_token, eos_token and others that the tokenizer names. */
  readonly specialTokens: Readonly<Record<string, string>>

  /** @throws {TemplateError} for a text longer than a mebibyte */
  constructor(text: string, source: string, specialTokens: Readonly<Record<string, string>> = {}) {
    if (text.length > mostCharacters) {
      throw new TemplateError(`${source}: ${text.length} characters, expected at most ${mostCharacters}`)
    }
    this.text = text
    this.source = source
    this.specialTokens = specialTokens
  }

  /** The text of one conversation. Throws what `renderAll` throws. */
  async render(messages: readonly ChatMessage[], options: RenderOptions = {}): Promise<string> {
    const [text] = await this.renderAll([messages], options)
    return text as string
  }

  /**
   * The texts of conversations, in their order.
   *
   * @throws {TemplateError} when the template is wrong, raises, or passes a limit; `details.conversation` is the index
   *   of the conversation
   */
  async renderAll(
    conversations: readonly (readonly ChatMessage[])[],
    options: RenderOptions = {},
  ): Promise<string[]> {
    const texts: string[] = []
    for (let start = 0; start < conversations.length; start += batch) {
      const part = conversations.slice(start, start + batch)
      const request: TemplateRequest = {
        template: this.text,
        variables: part.map(messages => ({
          ...this.specialTokens,
          ...options.variables,
          messages,
          add_generation_prompt: options.addGenerationPrompt ?? true,
        })),
      }
      texts.push(...(await this.#request(request, start)))
    }
    return texts
  }

  async #request(request: TemplateRequest, start: number): Promise<string[]> {
    let reply: TemplateReply
    try {
      reply = await worker.call<TemplateReply>(request, watchdogMs)
    } catch (error) {
      const why = error instanceof WorkerFailure ? error.message : (error as Error).message
      throw this.#error(why, start, error)
    }
    if (reply.error !== undefined) throw this.#error(reply.error, start + reply.texts.length)
    return reply.texts
  }

  #error(why: string, conversation: number, cause?: unknown): TemplateError {
    const message = why.length > 500 ? `${why.slice(0, 497)}...` : why
    return new TemplateError(`${this.source}: chat template: ${message} (conversation ${conversation})`, {
      details: { conversation },
      ...(cause === undefined ? {} : { cause }),
    })
  }
}

/** A list of messages, checked. Throws the error that `fail` makes of what was expected and what came. */
export function checkMessages(value: unknown, fail: (problem: string) => Error): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw fail(`expected a list of messages, got ${describeValue(value)}`)
  }
  return value.map((message, i) => {
    const [role, content] = ['role', 'content'].map(name => memberOf(message, name))
    if (typeof role !== 'string' || typeof content !== 'string') {
      throw fail(
        `message ${i}: expected role and content as texts, got ${describeValue(role)} and ${describeValue(content)}`,
      )
    }
    return { role, content }
  })
}

/** A member of an object or a Map that came from a file; undefined where there is none. */
export function memberOf(value: unknown, name: string): unknown {
  if (value instanceof Map) return value.get(name)
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Record<string, unknown>)[name]
}
