// The words of the LaTeX dialect that Math-Verify reads, by the kind of token they make.
// Of several that fit, the longest is taken, whatever follows it: `\cdots` is `\cdot` and the letter s.

export type TokenKind =
  | 'end'
  | 'number'
  | 'percentNumber'
  | 'scientific'
  | 'letter'
  | 'euler'
  | 'capitalE'
  | 'greek'
  | 'otherSymbol'
  | 'accent'
  | 'differential'
  | 'infinity'
  | 'partial'
  | 'name'
  | 'function'
  | 'manyFunction'
  | 'integral'
  | 'series'
  | 'limit'
  | 'arrow'
  | 'root'
  | 'operatorName'
  | 'frac'
  | 'binomial'
  | 'choose'
  | 'plus'
  | 'minus'
  | 'times'
  | 'divide'
  | 'modulo'
  | 'open'
  | 'close'
  | 'bar'
  | 'norm'
  | 'format'
  | 'matrixStart'
  | 'matrixEnd'
  | 'arrayStart'
  | 'arrayEnd'
  | 'determinantStart'
  | 'determinantEnd'
  | 'column'
  | 'row'
  | 'under'
  | 'caret'
  | 'transpose'
  | 'degree'
  | 'comma'
  | 'semicolon'
  | 'factorial'
  | 'relation'
  | 'in'
  | 'notIn'
  | 'union'
  | 'intersection'
  | 'setMinus'
  | 'subset'
  | 'plusMinus'
  | 'setName'

const skipped = ['\\,', '\\:', '\\;', '\\!', '\\$']
const skippedWords = (
  'thinspace medspace thickspace quad qquad negthinspace negmedspace negthickspace ' +
  'vrule vcenter vbox vskip vspace hfil'
).split(' ')

const greekNames = (
  'alpha beta gamma Gamma delta Delta epsilon varepsilon zeta eta theta Theta vartheta iota kappa lambda Lambda ' +
  'mu nu xi Xi omicron pi Pi varpi rho varrho sigma Sigma varsigma tau upsilon Upsilon phi Phi varphi chi psi Psi ' +
  'omega Omega'
).split(' ')

/** Greek letters written as themselves. */
export const greekLetters: Readonly<Record<string, string>> = {
  α: 'alpha',
  β: 'beta',
  γ: 'gamma',
  Γ: 'Gamma',
  δ: 'delta',
  Δ: 'Delta',
  ε: 'epsilon',
  ϵ: 'varepsilon',
  ζ: 'zeta',
  η: 'eta',
  θ: 'theta',
  Θ: 'Theta',
  ϑ: 'vartheta',
  ι: 'iota',
  κ: 'kappa',
  λ: 'lambda',
  Λ: 'Lambda',
  μ: 'mu',
  ν: 'nu',
  ξ: 'xi',
  Ξ: 'Xi',
  ο: 'omicron',
  π: 'pi',
  Π: 'Pi',
  ϖ: 'varpi',
  ρ: 'rho',
  ϱ: 'varrho',
  σ: 'sigma',
  Σ: 'Sigma',
  ς: 'varsigma',
  τ: 'tau',
  υ: 'upsilon',
  Υ: 'Upsilon',
  φ: 'phi',
  Φ: 'Phi',
  ϕ: 'varphi',
  χ: 'chi',
  ψ: 'psi',
  Ψ: 'Psi',
  ω: 'omega',
  Ω: 'Omega',
}

const otherSymbols = (
  'Bbbk wp nabla bigstar angle nexists diagdown measuredangle eth diagup sphericalangle clubsuit varnothing Diamond ' +
  'complement diamondsuit imath Finv triangledown heartsuit jmath Game triangle spadesuit ell hbar vartriangle ' +
  'hslash blacklozenge lozenge blacksquare mho blacktriangle sharp prime Im flat square backprime Re natural surd ' +
  'circledS'
).split(' ')

const functions = (
  'log ln exp sin cos tan csc sec cot arcsin arccos arctan arccsc arcsec arccot sinh cosh tanh arsinh arcosh artanh ' +
  'arcsinh arccosh arctanh floor ceil det'
).split(' ')

/** Commands whose braces hold a word rather than an expression. */
export const accents: ReadonlySet<string> = new Set(
  (
    'acute bar overline breve check widecheck dot ddot grave hat tilde widetilde vec overrightarrow bm boldsymbol ' +
    'text textit textbf textnormal mathbb mathbin mathbf mathcal mathclap mathclose mathellipsis mathfrak mathinner ' +
    'mathit mathnormal mathop mathopen mathord mathpunct mathrel mathring mathrlap mathrm mathscr mathsf ' +
    'mathsterling mathtt mbox'
  ).split(' '),
)

/** Words that have a meaning inside `\operatorname{}` and are therefore no product of letters anywhere. */
const names = (
  'arsinh arcsinh arcosh arccosh artanh arctanh gcd lcm floor ceil eye zeros ones cols rows diag norm rank trace tr ' +
  'rref hstack vstack orth ortho orthogonal orthogonalize nullspace eig eigen diagonalize eigenvals eigenvalues ' +
  'eigenvects eigenvectors svd SVD matrix pmatrix bmatrix vmatrix'
).split(' ')

/** Token kinds by text; null is skipped. */
export const words: ReadonlyMap<string, TokenKind | null> = new Map<string, TokenKind | null>([
  ...skipped.map(text => [text, null] as const),
  ...skippedWords.map(text => [`\\${text}`, null] as const),
  ...greekNames.map(text => [`\\${text}`, 'greek'] as const),
  ...Object.keys(greekLetters).map(text => [text, 'greek'] as const),
  ...otherSymbols.map(text => [`\\${text}`, 'otherSymbol'] as const),
  ...['ℵ', 'ℶ', 'ℷ', 'ℸ'].map(text => [text, 'otherSymbol'] as const),
  ...functions.map(text => [`\\${text}`, 'function'] as const),
  ...['gcd', 'lcm', 'max', 'min'].map(text => [`\\${text}`, 'manyFunction'] as const),
  ...names.map(text => [text, 'name'] as const),
  ...list('plus', '+ ∔ ⊕ ⊞'),
  ...list('minus', '- − ∸'),
  ...list('times', '* × ⋅ ⋄ ⊡ ∗ ⋆ ∘ ∙ ⊗ ⊠ ⋈ ⋉ ⋊ \\times \\cdot'),
  ...list('divide', '/ ÷ ∕ \\over \\div :'),
  ...list('modulo', '\\mod'),
  ...list(
    'open',
    '( \\( \\lgroup { \\{ \\lbrace [ \\lbrack \\lvert \\langle \\lfloor \\llcorner \\lceil \\ulcorner',
  ),
  ...list(
    'close',
    ') \\) \\rgroup } \\} \\rbrace ] \\rbrack \\rvert \\rangle \\rfloor \\lrcorner \\rceil \\urcorner',
  ),
  ...list('bar', '| \\vert'),
  ...list('norm', '\\|'),
  ...list('format', '\\phantom \\boxed'),
  ...list('limit', '\\lim'),
  ...list('arrow', '\\to \\rightarrow \\Rightarrow \\longrightarrow \\Longrightarrow'),
  ...list('integral', '\\int'),
  ...list('series', '\\sum \\prod'),
  ...list('root', '\\sqrt'),
  ...list('operatorName', '\\operatorname'),
  ...list('frac', '\\frac \\dfrac \\tfrac \\cfrac'),
  ...list('binomial', '\\binom \\tbinom \\dbinom'),
  ...list('choose', '\\choose'),
  ...list('column', '&'),
  ...list('row', '\\\\'),
  ...list('under', '_'),
  ...list('caret', '^'),
  ...list('transpose', "^T ^{T} '"),
  ...list('degree', '^\\circ ^\\degree ^\\circle ^° ^{\\circ} ^{\\degree} ^{\\circle} ^{°}'),
  ...list('comma', ','),
  ...list('semicolon', ';'),
  ...list('factorial', '!'),
  ...list('relation', '= ≡ ≣ ≟ ≎ ≏ ≐ ≑ ≒ ≓ ≔ ≕ ≖ ≗ == \\equiv ~= ≈ ≊ ≋ ≃ ≅ \\approx'),
  ...list('relation', '< ≪ ≺ ⋖ \\lt > ≫ ≻ ⋗ \\gt \\leq \\le \\leqslant ≤ ≦ ≲ ≾ <='),
  ...list('relation', '\\geq \\ge \\geqslant ≥ ≧ ≳ ≿ >= != !== \\ne \\neq \\not\\equiv ≠ ≁ ≄ ≇ ≉ ≢'),
  ...list('in', '\\in'),
  ...list('notIn', '\\notin ∉'),
  ...list('union', '\\cup ∪'),
  ...list('intersection', '\\cap ∩'),
  ...list('setMinus', '\\setminus ∖'),
  ...list('subset', '\\subseteq ⊆ \\supseteq ⊇'),
  ...list('plusMinus', '\\pm ± ∓ \\mp'),
  ...list('setName', '\\mathbb{N} ℕ \\mathbb{Z} ℤ \\mathbb{Q} ℚ \\mathbb{R} ℝ \\mathbb{C} ℂ \\mathbb{P} ℙ'),
  ...list('setName', '\\emptyset ∅ \\{\\} \\lbrace\\rbrace'),
  ...list('infinity', '\\infty'),
  ...list('partial', '\\partial'),
  ...['matrix', 'pmatrix', 'bmatrix'].flatMap(
    name =>
      [
        [`\\begin{${name}}`, 'matrixStart'],
        [`\\end{${name}}`, 'matrixEnd'],
      ] as const,
  ),
  ['\\begin{vmatrix}', 'determinantStart'],
  ['\\end{vmatrix}', 'determinantEnd'],
  ['\\end{array}', 'arrayEnd'],
])

function list(kind: TokenKind, texts: string): (readonly [string, TokenKind])[] {
  return texts.split(' ').map(text => [text, kind] as const)
}

// By first character, longest first: the first that fits is the longest.
const byFirst = new Map<string, string[]>()
for (const text of words.keys()) {
  // Commands begin alike: they are told apart by their second character.
  const first = text.startsWith('\\') ? text.slice(0, 2) : (text[0] as string)
  const known = byFirst.get(first)
  if (known) known.push(text)
  else byFirst.set(first, [text])
}
for (const texts of byFirst.values()) texts.sort((a, b) => b.length - a.length)

/** The longest known word that starts at a position. */
export function longestWord(text: string, at: number): string | undefined {
  const first = text[at] === '\\' ? text.slice(at, at + 2) : text.slice(at, at + 1)
  return byFirst.get(first)?.find(word => text.startsWith(word, at))
}

const relationOperators: readonly (readonly [string, string])[] = [
  ['=', '= ≡ ≣ ≟ ≎ ≏ ≐ ≑ ≒ ≓ ≔ ≕ ≖ ≗'],
  ['==', '== \\equiv'],
  ['~', '~= ≈ ≊ ≋ ≃ ≅ \\approx'],
  ['<', '< ≪ ≺ ⋖ \\lt'],
  ['<=', '\\leq \\le \\leqslant ≤ ≦ ≲ ≾ <='],
  ['>', '> ≫ ≻ ⋗ \\gt'],
  ['>=', '\\geq \\ge \\geqslant ≥ ≧ ≳ ≿ >='],
  ['!=', '!= !== \\ne \\neq \\not\\equiv ≠ ≁ ≄ ≇ ≉ ≢'],
]

/** What each relation's text means: `=` (also an assignment), `==`, `~` (approximately), and the inequalities. */
export const relationMeaning: ReadonlyMap<string, string> = new Map(
  relationOperators.flatMap(([meaning, texts]) => texts.split(' ').map(text => [text, meaning] as const)),
)
