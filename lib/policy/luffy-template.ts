// LUFFY's chat template: the system prompt of its data, and an assistant's turn that begins inside the thinking, so that
// a base model reasons from its first token on. The turns are those of Qwen (ChatML).

/** The system prompt of LUFFY's training and validation data. */
export const luffySystemPrompt =
  'Your task is to follow a systematic, thorough reasoning process before providing the final solution. ' +
  'This involves analyzing, summarizing, exploring, reassessing, and refining your thought process through ' +
  'multiple iterations. Structure your response into two sections: Thought and Solution. In the Thought section, ' +
  'present your reasoning using the format: "<think>\n {thoughts} </think>\n". Each thought should include ' +
  'detailed analysis, brainstorming, verification, and refinement of ideas. After "</think>\n," in the Solution ' +
  'section, provide the final, logical, and accurate answer, clearly derived from the exploration in the Thought ' +
  'section. If applicable, include the answer in \\boxed{} for closed-form results like multiple choices or ' +
  'mathematical solutions.'

/** The template; a conversation without a system message gets LUFFY's. */
export const luffyTemplate = `{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\n' + ${jinjaString(luffySystemPrompt)} + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
{%- endif %}
`

function jinjaString(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', '\\n')}'`
}

/** The tag that begins and the one that ends a response's thinking. */
export const thinkOpen = '<think>'
export const thinkClose = '</think>'

/**
 * A demonstration as the policy should have written it after a prompt: a leading think tag is left out where the prompt
 * already ends with one, and the end token's text stands at the end.
 */
export function demonstrationAfter(prompt: string, trace: string, endText: string): string {
  const opened = /<think>\s*$/.exec(prompt)?.[0]
  const leading = /^\s*<think>/.exec(trace)?.[0]
  let text = trace
  if (opened !== undefined && leading !== undefined) {
    text = trace.slice(leading.length)
    // The prompt's own line break after its tag stands for the trace's.
    if (opened.endsWith('\n') && text.startsWith('\n')) text = text.slice(1)
  }
  return text.endsWith(endText) ? text : text + endText
}
