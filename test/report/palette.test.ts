// The first colours stay apart for people who do not tell red from green, and for those who do not tell blue from yellow.
import test from 'ava'
import { dark, light } from '../../lib/report/html/palette.js'

// Linear RGB to linear RGB: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes 2009, severity 1.
const visions: Record<string, readonly (readonly number[])[]> = {
  all: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
}

function linear(colour: string): number[] {
  return [1, 3, 5].map(at => {
    const c = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  })
}

/** CIE L*a*b*, D65. */
function lab(rgb: readonly number[]): number[] {
  const [r = 0, g = 0, b = 0] = rgb.map(c => Math.max(0, Math.min(1, c)))
  const f = (t: number) => (t > 216 / 24389 ? Math.cbrt(t) : ((24389 / 27) * t + 16) / 116)
  const x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505)
  const y = f(0.2126 * r + 0.7152 * g + 0.0722 * b)
  const z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089)
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)]
}

function seen(colour: string, vision: readonly (readonly number[])[]): number[] {
  const rgb = linear(colour)
  return lab(vision.map(row => row.reduce((sum, factor, i) => sum + factor * (rgb[i] as number), 0)))
}

const distance = (a: readonly number[], b: readonly number[]) =>
  Math.hypot(...a.map((v, i) => v - (b[i] as number)))

for (const [name, palette] of Object.entries({ light, dark })) {
  test(`${name}: the first four methods and the outcomes of groups differ for every vision`, t => {
    const sets = [palette.series.slice(0, 4), [palette.solved, palette.mixed, palette.unsolved]]
    let least = Number.POSITIVE_INFINITY
    for (const [vision, matrix] of Object.entries(visions)) {
      for (const colours of sets) {
        for (const [i, a] of colours.entries()) {
          for (const b of colours.slice(i + 1)) {
            const apart = distance(seen(a, matrix), seen(b, matrix))
            least = Math.min(least, apart)
            // Twice what is seen at a glance side by side (about 5); shapes tell lines apart beside this.
            t.true(apart >= 10, `${vision}: ${a} and ${b} are ${apart.toFixed(1)} apart`)
          }
        }
      }
    }
    t.log(`least distance ${least.toFixed(1)}`)
  })
}
