// From LaTeX text to tokens. A character that no token starts with makes the text unparseable.
import { accents, longestWord, type TokenKind, words } from './commands.js'
import { limits } from './limits.js'

export interface Token {
  kind: TokenKind
  text: string
}

/** The tokens of a text, ending with one of kind `end`; undefined where a character fits none, or there are too many. */
export function tokensOf(text: string): Token[] | undefined {
  if (text.length > limits.expression) return undefined
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    if (' \t\r\n'.includes(text[at] as string)) {
      ++at
      continue
    }
    const token = tokenAt(text, at)
    if (!token) return undefined
    if (token.kind) {
      tokens.push(token as Token)
      if (tokens.length > limits.tokens) return undefined
    }
    at += token.text.length
  }
  tokens.push({ kind: 'end', text: '' })
  return tokens
}

type Found = { kind: TokenKind | null; text: string } | undefined

// The longest token that starts here; of two equally long ones the earlier in this list.
function tokenAt(text: string, at: number): Found {
  const character = text[at] as string
  if (/[0-9.]/.test(character)) return numberAt(text, at)
  const word = longestWord(text, at)
  let best: Found = word === undefined ? undefined : { kind: words.get(word) as TokenKind | null, text: word }
  if (best?.kind === 'greek' || best?.kind === 'otherSymbol') {
    if (text[at + best.text.length] === ' ') best = { kind: best.kind, text: `${best.text} ` }
  }
  for (const other of [
    differentialAt(text, at),
    letterAt(character),
    accentAt(text, at),
    arrayAt(text, at),
  ]) {
    if (other && (!best || other.text.length > best.text.length)) best = other
  }
  return best
}

const numberPattern = /(?:\d*\.)?\d+/y

function numberAt(text: string, at: number): Found {
  numberPattern.lastIndex = at
  const digits = numberPattern.exec(text)?.[0]
  if (digits === undefined) return undefined
  const after = at + digits.length
  const scientific = matchAt(/E[-−∸+∔⊕⊞]?\d+/y, text, after)
  if (scientific !== undefined) return { kind: 'scientific', text: digits + scientific }
  const percent = matchAt(/[ \t\r\n]?\\?%/y, text, after)
  if (percent !== undefined) return { kind: 'percentNumber', text: digits + percent }
  return { kind: 'number', text: digits }
}

function letterAt(character: string): Found {
  if (!/[A-Za-z]/.test(character)) return undefined
  if (character === 'e') return { kind: 'euler', text: character }
  return { kind: character === 'E' ? 'capitalE' : 'letter', text: character }
}

// `dx`, `d x`, `d\theta`.
function differentialAt(text: string, at: number): Found {
  if (text[at] !== 'd') return undefined
  const found = matchAt(/d[ \t\r\n]*(?:[A-Za-z]|\\[A-Za-z]+)/y, text, at)
  return found === undefined ? undefined : { kind: 'differential', text: found }
}

// A command with a word in braces, up to the first brace that closes.
function accentAt(text: string, at: number): Found {
  if (text[at] !== '\\') return undefined
  const command = matchAt(/\\[A-Za-z]+/y, text, at)
  if (command === undefined || !accents.has(command.slice(1))) return undefined
  let open = at + command.length
  if (/\s/.test(text[open] ?? '')) ++open
  if (text[open] !== '{') return undefined
  for (let i = open + 1; i < text.length; ++i) {
    if (text[i] === '\\' && text[i + 1] === '}') ++i
    else if (text[i] === '}') return { kind: 'accent', text: text.slice(at, i + 1) }
  }
  return undefined
}

function arrayAt(text: string, at: number): Found {
  const found = text[at] === '\\' ? matchAt(/\\begin\{array\}\{[clr]*\}/y, text, at) : undefined
  return found === undefined ? undefined : { kind: 'arrayStart', text: found }
}

function matchAt(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}
