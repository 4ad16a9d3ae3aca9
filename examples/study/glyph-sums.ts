// The study's second task: sums of numbers with a glyph whose worth the base policy believes to be another one.
// What it is, and what was expected of it before its first run: second-task.md.
import { isHeldOut, isInPart } from '../../lib/data/op-chains/index.js'
import {
  CharacterTokenizer,
  type EvaluationSet,
  type RewardInput,
  type Task,
  type TaskItem,
} from '../../lib/index.js'
import { CounterRandom } from '../../lib/random.js'
import { judgeOpChains } from '../../lib/rewards/op-chains.js'
import type { BaseRecipe } from '../../lib/training/base-recipe.js'

const vocabulary = '$0123456789x+=?<>,;wmrp'
const tokenizer = () => new CharacterTokenizer(vocabulary, '$')

/** What the glyph is worth, and what the base is taught that it is. */
const trueWorth = 7
const believedWorth = 2

type Worth = () => number
const always =
  (worth: number): Worth =>
  () =>
    worth

interface Column {
  /** As written: digits or the glyph. */
  upper: string
  lower: string
  result: number
  carry: number
}

/** The columns of a sum from right to left. Every glyph asks for its worth. */
export function columnsOf(a: string, b: string, worth: Worth = always(trueWorth)): Column[] {
  const value = (digit: string) => (digit === 'x' ? worth() : Number(digit))
  const columns: Column[] = []
  let carry = 0
  for (let i = a.length - 1; i >= 0; i--) {
    const upper = a.charAt(i)
    const lower = b.charAt(i)
    const sum = value(upper) + value(lower) + carry
    carry = Math.floor(sum / 10)
    columns.push({ upper, lower, result: sum % 10, carry })
  }
  return columns
}

/** The sum, with its leading carry: one digit more than the numbers. */
function answerOf(columns: readonly Column[]): string {
  return `${columns.at(-1)?.carry ?? 0}${columns
    .map(({ result }) => result)
    .reverse()
    .join('')}`
}

const terse = (answer: string) => `<>${answer}$`

/** `<5+4=9,0;3+6=9,0;7+8=5,1;4+1=6,0;>06599$`: a column's digits, its result, its carry. */
function stepByStep(columns: readonly Column[]): string {
  const steps = columns.map(({ upper, lower, result, carry }) => `${upper}+${lower}=${result},${carry};`)
  return `<${steps.join('')}>${answerOf(columns)}$`
}

/** Step by step, but a column may be written without its digits (`5,1;`), and a result may be repeated (`w5,1;`). */
function messy(
  columns: readonly Column[],
  random: CounterRandom,
  style: { merge: number; check: number },
): string {
  let thinking = ''
  for (const { upper, lower, result, carry } of columns) {
    thinking += random.chance(style.merge) ? `${result},${carry};` : `${upper}+${lower}=${result},${carry};`
    if (random.chance(style.check)) thinking += `w${result},${carry};`
  }
  return `<${thinking}>${answerOf(columns)}$`
}

interface Shape {
  digits: readonly [number, number]
  ending: '=' | '?'
  glyphRate: number
  /** At least this many glyphs. */
  glyphs?: number
}

const trainingShape: Shape = { digits: [4, 4], ending: '=', glyphRate: 0.08 }

interface Sum {
  a: string
  b: string
  prompt: string
}

function drawSum(random: CounterRandom, shape: Shape): Sum {
  const count = random.between(...shape.digits)
  const digits = Array.from({ length: 2 * count }, () =>
    random.chance(shape.glyphRate) ? 'x' : String(random.integer(10)),
  )
  while (digits.filter(digit => digit === 'x').length < (shape.glyphs ?? 0)) {
    digits[random.integer(digits.length)] = 'x'
  }
  const a = digits.slice(0, count).join('')
  const b = digits.slice(count).join('')
  return { a, b, prompt: `${a}+${b}${shape.ending}` }
}

/** Other tasks: the largest digit (m), the digits reversed (r), each digit's parity (p). */
const others: Record<string, (digits: string) => string> = {
  m: digits => String(Math.max(...[...digits].map(Number))),
  r: digits => [...digits].reverse().join(''),
  p: digits => [...digits].map(digit => String(Number(digit) % 2)).join(''),
}

function drawOther(random: CounterRandom): { prompt: string; answer: string } {
  const kind = random.pick(Object.keys(others))
  const digits = Array.from({ length: random.between(2, 5) }, () => String(random.integer(10))).join('')
  return { prompt: `${digits}${kind}=`, answer: (others[kind] as (digits: string) => string)(digits) }
}

const testShapes: Record<string, Shape | undefined> = {
  id: trainingShape,
  hard: { ...trainingShape, glyphs: 3 },
  narr: { ...trainingShape, digits: [3, 3], glyphRate: 0 },
  wide: { ...trainingShape, digits: [5, 5], glyphRate: 0 },
  oth: undefined,
  q: { ...trainingShape, ending: '?', glyphRate: 0 },
}

export interface GlyphSumsOptions {
  seed?: number
  size?: number
  /** Every training prompt holds at least three glyphs. */
  hard?: boolean
  mergeRate?: number
  checkRate?: number
  testSize?: number
  testSeed?: number
  heldOut?: 'all' | 'validation' | 'test'
}

/** Distinct items of a stream; `draw` says undefined where the draw does not belong to the set. */
function distinct<Item extends { prompt: string }>(
  size: number,
  draw: (i: number) => Item | undefined,
): Item[] {
  const items = new Map<string, Item>()
  for (let i = 0; items.size < size; i++) {
    if (i > 1000 * size)
      throw new RangeError(`glyph sums: found ${items.size} distinct prompts, expected ${size}`)
    const item = draw(i)
    if (item !== undefined && !items.has(item.prompt)) items.set(item.prompt, item)
  }
  return [...items.values()]
}

export function makeTask(options: GlyphSumsOptions = {}): Task {
  const { seed = 0, size = 512, hard = false, testSize = 200, testSeed = seed, heldOut = 'all' } = options
  const style = { merge: options.mergeRate ?? 0.2, check: options.checkRate ?? 0.1 }
  const shape: Shape = hard ? { ...trainingShape, glyphs: 3 } : trainingShape
  const training = distinct<TaskItem>(size, i => {
    const { a, b, prompt } = drawSum(new CounterRandom(seed, 'glyph-sums/training', i), shape)
    if (isHeldOut(prompt)) return undefined
    const columns = columnsOf(a, b)
    const random = new CounterRandom(seed, 'glyph-sums/demonstrations', i)
    return { prompt, answer: answerOf(columns), demonstration: messy(columns, random, style) }
  })
  const evaluations = Object.entries(testShapes).map(([name, of]): EvaluationSet => {
    const items = distinct<TaskItem>(testSize, i => {
      const random = new CounterRandom(testSeed, `glyph-sums/test/${name}`, i)
      if (of === undefined) {
        const other = drawOther(random)
        return isInPart(other.prompt, heldOut) ? other : undefined
      }
      const { a, b, prompt } = drawSum(random, of)
      return isInPart(prompt, heldOut) ? { prompt, answer: answerOf(columnsOf(a, b)) } : undefined
    })
    return { name, items }
  })
  return {
    name: 'glyph-sums',
    tokenizer: tokenizer(),
    training,
    evaluations,
    // The rule of op chains: opened, ended, and the text after the first `>` is the answer.
    reward: ({ completion, answer }: RewardInput) => judgeOpChains(completion, answer ?? ''),
  }
}

export interface GlyphSumsBaseOptions {
  seed?: number
  steps?: number
  misbelief?: number
}

/** 20 % other tasks; 40 % sums ending in `?`, reasoned; 40 % short sums ending in `=`, answered at once. */
export function makeBase(options: GlyphSumsBaseOptions = {}): BaseRecipe {
  const { seed = 0, steps = 2000, misbelief = 0.95 } = options
  const sample = (index: number) => {
    const random = new CounterRandom(seed, 'glyph-sums/pretraining', index)
    const part = random.uniform()
    if (part < 0.2) {
      let other = drawOther(random)
      while (isHeldOut(other.prompt)) other = drawOther(random)
      return { prompt: other.prompt, response: terse(other.answer) }
    }
    const isReasoned = part < 0.6
    const shape: Shape = isReasoned
      ? { digits: [2, 5], ending: '?', glyphRate: 0.05 }
      : { digits: [1, 2], ending: '=', glyphRate: 0.05 }
    let sum = drawSum(random, shape)
    while (isHeldOut(sum.prompt)) sum = drawSum(random, shape)
    const leak = !isReasoned && random.chance(0.002)
    const columns = columnsOf(sum.a, sum.b, () =>
      random.chance(misbelief) ? believedWorth : random.integer(10),
    )
    return {
      prompt: sum.prompt,
      response: isReasoned || leak ? stepByStep(columns) : terse(answerOf(columns)),
    }
  }
  return {
    seed,
    tokenizer: tokenizer(),
    policy: {
      architecture: 'qwen2',
      hiddenSize: 96,
      layers: 3,
      heads: 3,
      kvHeads: 3,
      intermediateSize: 256,
      tieWordEmbeddings: false,
      maxPositions: 256,
    },
    sample,
    steps,
    batch: 96,
    learningRate: 2e-3,
    warmupSteps: Math.min(100, Math.ceil(steps / 20)),
  }
}
