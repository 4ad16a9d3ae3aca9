// Characters, and searches that stay linear however often they are asked.

export function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= '0' && character <= '9' && character.length === 1
}

export function isSpace(character: string | undefined): boolean {
  if (character === undefined || (character > ' ' && character < '\u0085')) return false
  return character === ' ' || character === '\n' || /\s/.test(character)
}

/** Where the white space that starts at `at` ends. */
export function skipSpaces(text: string, at: number): number {
  while (at < text.length && isSpace(text[at])) ++at
  return at
}

/** Start positions of a string in a text, overlapping ones included. */
export function occurrences(text: string, part: string): number[] {
  const found: number[] = []
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) found.push(at)
  return found
}

/** The first of sorted positions that is at least `at`, or Infinity. */
export function firstFrom(positions: readonly number[], at: number): number {
  let low = 0
  let high = positions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((positions[middle] as number) < at) low = middle + 1
    else high = middle
  }
  return positions[low] ?? Number.POSITIVE_INFINITY
}
