// Colours of the page and its pictures, light and dark. The first ones differ for every common kind of colour vision
// (test/report/palette.test.ts measures it); marks and dashes tell lines apart beside colour.

export interface Palette {
  page: string
  card: string
  ink: string
  muted: string
  grid: string
  axis: string
  /** Methods, in the order in which they appear. */
  series: readonly string[]
  /** Groups by outcome. */
  solved: string
  mixed: string
  unsolved: string
  /** Of the highest share in a heat map; lower ones fade to the card. */
  heat: string
  /** Behind tokens: unlikely ones, and members with a positive or negative advantage. */
  unlikely: string
  gain: string
  loss: string
}

export const light: Palette = {
  page: '#f4f5f7',
  card: '#ffffff',
  ink: '#1b1f24',
  muted: '#57606a',
  grid: '#e6e9ed',
  axis: '#8a939e',
  series: ['#0067a5', '#c2500a', '#12876b', '#a3478a', '#8a6500', '#5b5fc7', '#5f6a76', '#b3261e'],
  solved: '#0067a5',
  mixed: '#b87a00',
  unsolved: '#8a939e',
  heat: '#004b7a',
  unlikely: '#f2a36b',
  gain: '#8cc3ea',
  loss: '#f2b27f',
}

export const dark: Palette = {
  page: '#0f1216',
  card: '#171b21',
  ink: '#e8ecf1',
  muted: '#a3adb8',
  grid: '#2a3038',
  axis: '#77828e',
  series: ['#56a8e8', '#f0884a', '#34c08e', '#e08bc4', '#d9b44a', '#a3a6ff', '#b4bcc5', '#ff8a80'],
  solved: '#56a8e8',
  mixed: '#d9a23a',
  unsolved: '#77828e',
  heat: '#8fd0ff',
  unlikely: '#7a3f14',
  gain: '#1d5079',
  loss: '#70400f',
}

/** Colours as CSS variables: light, and dark where the reader's system is. */
export function paletteCss(root: string): string {
  return `${root}{color-scheme:light dark;${variables(light)}}@media (prefers-color-scheme:dark){${root}{${variables(dark)}}}`
}

function variables({ series, ...named }: Palette): string {
  const entries = [...Object.entries(named), ...series.map((colour, i) => [`c${i}`, colour])]
  return entries.map(([name, colour]) => `--${name}:${colour}`).join(';')
}

/** Classes of the pictures: lines, fills and text by the variables above. */
export const chartCss = [
  'svg.chart text{font:12px system-ui,sans-serif;fill:var(--muted)}',
  'svg.chart text.name{fill:var(--ink)}svg.chart text.title{fill:var(--ink);font-weight:600;font-size:14px}',
  '.grid{stroke:var(--grid)}.axis{stroke:var(--axis)}',
  '.line{fill:none;stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:5 4}',
  '.band{fill-opacity:.18}.hit{fill:transparent}.mark{stroke-width:1.5}.whisker{stroke:var(--ink);stroke-width:1.5;fill:none}',
  '.back{fill:var(--card)}.cut{stroke:var(--card)}.heat{fill:var(--heat)}',
  ...light.series.map((_, i) => `.s${i}{stroke:var(--c${i})}.f${i}{fill:var(--c${i})}`),
  ...['solved', 'mixed', 'unsolved'].map(name => `.f-${name}{fill:var(--${name})}`),
].join('')

/** Class number of the i-th method. */
export function seriesClass(i: number): number {
  return i % light.series.length
}
