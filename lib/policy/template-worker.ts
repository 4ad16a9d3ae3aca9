// The worker that renders chat templates for chat-template.ts.
import { serveRequests } from '../io/limited-worker.js'
import { parseTemplate, renderTemplate } from './template-engine.js'

export interface TemplateRequest {
  template: string
  /** One rendering each. */
  variables: readonly Readonly<Record<string, unknown>>[]
}

/** The renderings up to the first that failed, and why it did. */
export interface TemplateReply {
  texts: string[]
  error: string | undefined
}

let parsed: { template: string; program: ReturnType<typeof parseTemplate> } | undefined

serveRequests(({ template, variables }: TemplateRequest): TemplateReply => {
  const texts: string[] = []
  try {
    if (parsed?.template !== template) parsed = { template, program: parseTemplate(template) }
    for (const values of variables) texts.push(renderTemplate(parsed.program, values))
    return { texts, error: undefined }
  } catch (error) {
    return { texts, error: error instanceof Error ? error.message : String(error) }
  }
})
