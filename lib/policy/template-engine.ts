// Chat templates inside limits: the interpreter of @huggingface/jinja with its blocks counted, its output and its ranges
// bounded, and no clock. It runs in a worker (template-worker.ts); what cannot be counted ends there by the watchdog.
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'

export const templateLimits = {
  /** Blocks evaluated: bodies of loops, of conditions and of macros. */
  steps: 100_000,
  /** Characters of the rendered text, and of every block on the way. */
  outputLength: 4 * 1024 * 1024,
  /** Numbers of one range(). */
  rangeLength: 100_000,
} as const

type Program = ReturnType<typeof parse>

/** What the interpreter does for every list of statements; private in its types, looked up by name at run time. */
interface Blocks {
  evaluateBlock(statements: unknown, environment: unknown): { value: string }
}

/** The parsed form of a template. Throws where it is not Jinja, or nested too deeply. */
export function parseTemplate(text: string): Program {
  return parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }))
}

/** The text of a template for some variables. Throws an Error that names the limit where one is passed. */
export function renderTemplate(program: Program, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment()
  for (const [name, value] of [...Object.entries(globals), ...Object.entries(variables)]) {
    environment.set(name, value)
  }
  const interpreter = new Interpreter(environment)
  limitBlocks(interpreter as unknown as Blocks)
  const { value } = interpreter.run(program)
  if (typeof value !== 'string') throw new Error('the template did not give a text')
  return value
}

function limitBlocks(interpreter: Blocks): void {
  const evaluate = interpreter.evaluateBlock
  let steps = 0
  interpreter.evaluateBlock = (statements, environment) => {
    steps += 1
    if (steps > templateLimits.steps) throw new Error(`step limit ${templateLimits.steps}`)
    const result = evaluate.call(interpreter, statements, environment)
    if (result.value.length > templateLimits.outputLength) {
      throw new Error(`output limit of ${templateLimits.outputLength} characters`)
    }
    return result
  }
}

// Those of the library, less its clock: a rendering that depends on the day cannot be repeated.
const globals: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: unknown) => {
    throw new Error(`the template raised: ${String(message)}`)
  },
}

function range(first: number, second?: unknown, third?: unknown): number[] {
  // The last argument of a call may hold its keyword arguments.
  const [start, stop] = typeof second === 'number' ? [first, second] : [0, first]
  const step = typeof third === 'number' ? third : 1
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (step === 0 || !Number.isFinite(length)) throw new Error('range() of something other than numbers')
  if (length > templateLimits.rangeLength) {
    throw new Error(`range limit of ${templateLimits.rangeLength} numbers, got ${length}`)
  }
  return Array.from({ length }, (_, i) => start + i * step)
}
