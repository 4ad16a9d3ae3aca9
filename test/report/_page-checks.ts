// What is asked of a page in the browser. Each function is sent there as text: it uses nothing from outside of itself.

// biome-ignore lint/suspicious/noExplicitAny: the types of a browser are not those of this project
type Any = any
declare const document: Any
declare const getComputedStyle: (element: Any) => Any

/** Texts of pictures that cover each other or leave the picture. */
export function overlaps(): string[] {
  const found: string[] = []
  for (const svg of document.querySelectorAll('svg.chart')) {
    const { y: top, width, height } = svg.viewBox.baseVal
    const boxes = [...svg.querySelectorAll('text')].map((text: Any) => ({
      text: text.textContent,
      box: text.getBBox(),
    }))
    const name = svg.getAttribute('aria-label')
    boxes.forEach(({ text, box }, i) => {
      if (box.width === 0) found.push(`${name}: ${text}: not laid out`)
      if (
        box.x < -0.5 ||
        box.y < top - 2 ||
        box.x + box.width > width + 0.5 ||
        box.y + box.height > top + height + 2
      ) {
        found.push(`${name}: ${text}: leaves the picture`)
      }
      for (const other of boxes.slice(i + 1)) {
        const x = Math.min(box.x + box.width, other.box.x + other.box.width) - Math.max(box.x, other.box.x)
        const y = Math.min(box.y + box.height, other.box.y + other.box.height) - Math.max(box.y, other.box.y)
        // The box of a text has room above and below its letters.
        if (x > 1 && y > 4) found.push(`${name}: ${text} and ${other.text}`)
      }
    })
  }
  return found
}

/** Ratios of contrast (WCAG 2.2) that are too low, and how many were looked at: 4.5 for text, 3 for marks. */
export function contrasts(): { low: string[]; texts: number; marks: number } {
  const parse = (text: string): number[] => {
    const numbers = (text.match(/-?[\d.]+(e-?\d+)?/g) ?? []).map(Number)
    const scaled = text.startsWith('color(') ? numbers.map((n, i) => (i < 3 ? n * 255 : n)) : numbers
    return scaled.length === 3 ? [...scaled, 1] : scaled
  }
  const over = (top: number[], under: number[]) => {
    const alpha = top[3] as number
    return [0, 1, 2].map(i => (top[i] as number) * alpha + (under[i] as number) * (1 - alpha)).concat(1)
  }
  const luminance = (colour: number[]) => {
    const [r, g, b] = colour.map(c =>
      c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4,
    )
    return 0.2126 * (r as number) + 0.7152 * (g as number) + 0.0722 * (b as number)
  }
  const ratio = (a: number[], b: number[]) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number]
    return (x + 0.05) / (y + 0.05)
  }
  const background = (element: Any): number[] => {
    const layers: number[][] = []
    for (let at = element; at; at = at.parentElement)
      layers.unshift(parse(getComputedStyle(at).backgroundColor))
    return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1])
  }
  const result = { low: [] as string[], texts: 0, marks: 0 }
  const check = (element: Any, colour: string, least: number) => {
    const under = background(element)
    const value = ratio(over(parse(colour), under), under)
    if (value < least)
      result.low.push(`${element.tagName}.${element.getAttribute('class')}: ${value.toFixed(2)} of ${least}`)
  }
  for (const element of document.querySelectorAll('main *')) {
    const own = [...element.childNodes].some(
      (node: Any) => node.nodeType === 3 && node.textContent.trim() !== '',
    )
    const style = getComputedStyle(element)
    if (['SCRIPT', 'STYLE', 'title', 'NOSCRIPT'].includes(element.tagName) || style.visibility === 'hidden')
      continue
    if (own && !element.disabled && element.getClientRects().length > 0) {
      result.texts += 1
      check(element, element.tagName === 'text' ? style.fill : style.color, 4.5)
    }
    const isMark =
      element.matches('svg.chart path, svg.chart rect') &&
      !element.matches('.band, .heat, .cut.line, .axis, .back')
    if (!isMark) continue
    result.marks += 1
    check(element, style.fill === 'none' ? style.stroke : style.fill, 3)
  }
  return result
}

/** What should not be there: elements that foreign text has made, and what its scripts have done. */
export function intruders(): string[] {
  const made = [
    ...document.querySelectorAll('img, iframe, object, embed, link, [onerror], [onload], script[src]'),
  ]
  const styles = document.querySelectorAll('style').length
  const scripts = document.querySelectorAll('script').length
  const pwned = (globalThis as Any).pwned
  return [
    ...made.map((element: Any) => element.outerHTML.slice(0, 100)),
    ...(styles === 1 ? [] : [`${styles} styles`]),
    ...(scripts === 2 ? [] : [`${scripts} scripts`]),
    ...(pwned === undefined ? [] : [`a script ran: ${pwned}`]),
  ]
}
