// What completions/ keeps of a step: whole groups within a bound, each token with its text and log-probability.
import type { StreamingDecoder } from '../policy/tokenizer-hugging-face.js'
import type { Tokenizer } from '../policy/tokenizer-simple.js'
import type { CompletionRow } from './run-folder.js'

/** Most tokens that one step logs; the first group is logged whatever its size. */
const mostTokens = 2 ** 17

/** Tokens between two turns of the event loop: a few milliseconds. */
const tokensPerTurn = 2048

/**
 * The rows to log, with the texts of their tokens: the first groups that fit. Log-probabilities are rounded to six
 * digits, which halves the file.
 */
export async function rowsToLog(
  rows: readonly CompletionRow[],
  tokenizer: Tokenizer,
): Promise<{ rows: CompletionRow[]; leftOut: number }> {
  const kept = rows.slice(0, rowsWithin(rows, mostTokens))
  const logged: CompletionRow[] = []
  let sinceTurn = 0
  for (const row of kept) {
    const { tokens = [], logProbs } = row
    sinceTurn += tokens.length
    if (sinceTurn > tokensPerTurn) {
      sinceTurn = tokens.length
      await new Promise(resolve => setImmediate(resolve))
    }
    logged.push({
      ...row,
      pieces: tokenPieces(tokens, tokenizer),
      ...(logProbs ? { logProbs: logProbs.map(value => Number(value.toPrecision(6))) } : {}),
    })
  }
  return { rows: logged, leftOut: rows.length - kept.length }
}

/** Rows of the first whole groups with at most `most` tokens, the first group in any case. */
function rowsWithin(rows: readonly CompletionRow[], most: number): number {
  let tokens = 0
  let whole = 0
  for (const [i, row] of rows.entries()) {
    if (i > 0 && row.group !== rows[i - 1]?.group) whole = i
    tokens += row.tokens?.length ?? 0
    if (tokens > most && whole > 0) return whole
  }
  return rows.length
}

/**
 * The text of each token; together they are the text of all of them. Where a character takes several tokens it stands at
 * the last of them.
 */
export function tokenPieces(tokens: readonly number[], tokenizer: Tokenizer): string[] {
  if (!hasStream(tokenizer)) return tokens.map(token => tokenizer.decode([token]))
  const decoder = tokenizer.stream()
  const pieces = tokens.map(token => decoder.push(token))
  const last = pieces.length - 1
  if (last >= 0) pieces[last] += decoder.end()
  return pieces
}

function hasStream(tokenizer: Tokenizer): tokenizer is Tokenizer & { stream(): StreamingDecoder } {
  return 'stream' in tokenizer && typeof tokenizer.stream === 'function'
}
