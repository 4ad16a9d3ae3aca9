// LaTeX as people and models write it, brought to the forms that the parser knows. Each step is what Math-Verify does,
// in its order.
import { withoutUnits } from './units.js'

// Of sized brackets the size is dropped.
const sizedLeft =
  /\\m?left(?=\\\{|\{|\\\||\||\[|\(|\\rbracl|\\lgroup|\\lbrace|\\lbrack|\\l?vert|\\lceil|\\lfloor|\\langle|\\llcorner|\\ulcorner)/g
const sizedRight =
  /\\m?right(?=\\\}|\}|\\\||\||\]|\)|\\rbrack|\\rgroup|\\rbrace|\\r?vert|\\rceil|\\rfloor|\\rangle|\\lrcorner|\\urcorner)/g

const removed = /\\mathrm\{th\}|\\!\s*|\\text\s*\{\s*\}|\\?\$|(?<!\\)["']|\\displaystyle/g

// Spellings and what they become; of several that fit at one place the first counts.
const rewrites: readonly (readonly [string, string])[] = [
  ['\\\\math(?:rm|it|bf)', '\\text'],
  ['\\\\text(?:normal|bf|it|rm)', '\\text'],
  ['\\\\[dtc]frac', '\\frac'],
  ['\\s\\.', ' 0.'],
  ['\\{\\.', '{0.'],
  ['~=', '\\approx'],
  ['\\s*\\{\\s*,\\s*\\}', ','],
  ['(?<![a-zA-Z]),?\\s*(?:and|or)(?![a-zA-Z])', ','],
  [',?\\s*\\\\text\\{\\s*(?:and|or)\\s*\\}', ','],
  ['(?<!\\\\)\\\\\\s', ' '],
  ['infinity', '\\infty'],
  [',?\\\\ldots', ' '],
  ['\\s*percentage', '\\%'],
  ['\\\\text\\{percentage\\}', '\\%'],
  ['\\s*percent', '\\%'],
  ['\\\\text\\{percent\\}', '\\%'],
  ['\\s*pct', '\\%'],
  ['\\\\text\\{pct\\}', '\\%'],
  ['(?<!\\\\)inf(?!inity)', '\\infty'],
  [' sqrt', '\\sqrt'],
]
const anyRewrite = new RegExp(rewrites.map(([pattern]) => `(${pattern})`).join('|'), 'g')

/** A LaTeX answer in the parser's spelling. */
export function normalizeLatex(text: string, strict: boolean): string {
  text = basicLatex(text)
  text = withoutUnits(text, strict)
  if (text.startsWith('.')) text = `0${text}`
  if (text === '0.5') text = '\\frac{1}{2}'
  return completedOperators(text).trim()
}

function basicLatex(text: string): string {
  // Long white space means nothing, and would make the patterns below slow.
  text = text.replace(/\s{17,}/g, '                ')
  text = text.replaceAll('\\mathrm{T}', 'T').replaceAll('\\mathrm{d}', 'd').replaceAll('{\\rm d}', 'd')
  text = text
    .replaceAll('\\left[\\begin{matrix}', '\\begin{bmatrix}')
    .replaceAll('\\end{matrix}\\right]', '\\end{bmatrix}')
  text = text.replace(sizedLeft, '').replace(sizedRight, '')
  // (n)_{k}: the number of ordered choices.
  text = text.replace(
    /\(([a-zA-Z0-9+\-*/\\ ]+?)\)_\{([a-zA-Z0-9+\-*/\\ ]+?)\}/g,
    '\\frac{($1)!}{(($1)-($2))!}',
  )
  text = text.replace(removed, '')
  text = text.replace(anyRewrite, (...found) => {
    const group = found.slice(1, rewrites.length + 1).findIndex(part => part !== undefined)
    return (rewrites[group] as readonly [string, string])[1]
  })
  text = text.replace(/[\n\t]/g, ' ')
  return text.includes('matrix') ? text : text.replace(/\\\\(?=[a-zA-Z])/g, '\\')
}

/** Braces where an operator's argument lacks them: `^(2)`, `sqrt(3)`, `\frac12`, `\sqrt3`, and `1/2` alone. */
function completedOperators(text: string): string {
  text = text.replace(/\^\s?\((.*?)\)/g, '^{$1}')
  text = text.replace(/sqrt\s?\((.*?)\)/g, '\\sqrt{$1}')
  text = text.replace(/\\frac\s?(\d)\s?(\d+)/g, '\\frac{$1}{$2}')
  text = text.replace(/\\log_\s?(\d)\s?(\d+)/g, '\\log_{$1}{$2}')
  if (/\}\s?\d/.test(text)) text = text.replace(/\\frac\s?\{(.*?)\}\s?(\d)/g, '\\frac{$1}{$2}')
  text = text.replace(/\\frac\s?(\d)\s?\{(.*?)\}/g, '\\frac{$1}{$2}')
  text = text.replace(/\\sqrt\s?(\d)/g, '\\sqrt{$1}')
  text = text.replaceAll(' sqrt', '\\sqrt')
  text = bracedRoots(text)
  text = bracedFractions(text)
  return simpleFraction(text)
}

function bracedRoots(text: string): string {
  const [before = '', ...parts] = text.split('\\sqrt')
  return parts.reduce((done, part) => {
    const rest = part.trimStart()
    const braced = rest === '' || rest.startsWith('{') || rest.startsWith('[')
    return braced ? `${done}\\sqrt${rest}` : `${done}\\sqrt{${rest[0]}}${rest.slice(1)}`
  }, before)
}

// Every `\frac` gets its braces from single characters; one with too little behind it leaves the text as it is.
function bracedFractions(text: string): string {
  const [before = '', ...parts] = text.split('\\frac')
  let done = before
  for (const part of parts) {
    const rest = part.trimStart()
    if (rest.startsWith('{')) done += `\\frac${rest}`
    else if (rest.length < 2) return text
    else if (rest[1] === '{') done += `\\frac{${rest[0]}}${rest.slice(1)}`
    else done += `\\frac{${rest[0]}}{${rest[1]}}${rest.slice(2)}`
  }
  return done
}

function simpleFraction(text: string): string {
  const match = /^(-?(?:0|[1-9]\d{0,2000}))\/(-?(?:0|[1-9]\d{0,2000}))$/.exec(text)
  return match && match[1] !== '-0' && match[2] !== '-0' ? `\\frac{${match[1]}}{${match[2]}}` : text
}
