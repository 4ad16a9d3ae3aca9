// The page: one file that asks for nothing beside itself, and that a browser may not let ask for anything.
import { createHash } from 'node:crypto'
import { inlineSvg } from './chart.js'
import { completionsView } from './completions-view.js'
import type { Figure } from './figures/figure.js'
import { escapeMarkup } from './markup.js'
import type { ReportModel } from './model.js'
import type { ShownRun } from './read-completions.js'
import { pageCss } from './style.js'
import { summary } from './summary.js'

export interface PageParts {
  title: string
  model: ReportModel
  figures: readonly Figure[]
  completions: readonly ShownRun[]
  notices: readonly string[]
}

const mostNotices = 50

export function pageOf({ title, model, figures, completions, notices }: PageParts): string {
  const view = completionsView(completions)
  // Nothing but this style and this script: no network, no other script, whatever a completion holds.
  const policy = [
    "default-src 'none'",
    `style-src ${hashOf(pageCss)}`,
    ...(view.script === undefined ? [] : [`script-src ${hashOf(view.script)}`]),
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  const heading = escapeMarkup(title, 200)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${heading}</title>
<style>${pageCss}</style>
</head>
<body>
<main>
<header>
<h1>${heading}</h1>
${summary(model)}
</header>
${figures.length > 0 ? sections(figures) : ''}
<section class="figure" id="completions">
<h2>Completions</h2>
${view.html}
</section>
${footer(model, notices)}
</main>
</body>
</html>
`
}

/** Figures of one picture share their rows with others, so that more is seen at once. */
function sections(figures: readonly Figure[]): string {
  const parts: string[] = []
  let single: Figure[] = []
  const flush = () => {
    if (single.length > 0) parts.push(`<div class="pair">${single.map(section).join('\n')}</div>`)
    single = []
  }
  for (const figure of figures) {
    if (figure.panels.length === 1) single.push(figure)
    else if (figure.panels.length > 1) {
      flush()
      parts.push(section(figure))
    }
  }
  flush()
  return parts.join('\n')
}

function section({ id, title, note, panels }: Figure): string {
  const alone = panels.length === 1
  const drawn = panels.map(
    panel =>
      `<figure class="panel">${alone ? '' : `<figcaption><h3>${escapeMarkup(panel.title, 60)}</h3></figcaption>`}${inlineSvg(panel.chart)}</figure>`,
  )
  return `<section class="figure" id="${id}">
<h2>${escapeMarkup(title)}</h2>
<p class="note">${escapeMarkup(note)}</p>
<div class="panels">${drawn.join('\n')}</div>
</section>`
}

function footer(model: ReportModel, notices: readonly string[]): string {
  const runs = model.methods.flatMap(method =>
    method.runs.map(run => {
      const seed = run.seed === undefined ? '' : `, seed ${run.seed}`
      return `<li>${escapeMarkup(`${method.name}${seed}: ${run.folder}, ${run.steps} steps`, 300)}</li>`
    }),
  )
  const said = notices.slice(0, mostNotices).map(notice => `<li>${escapeMarkup(notice, 400)}</li>`)
  if (notices.length > mostNotices) said.push(`<li>and ${notices.length - mostNotices} more</li>`)
  return `<footer class="note"><h2>Runs</h2><ul>${runs.join('')}</ul>${said.length > 0 ? `<h2>Left out</h2><ul>${said.join('')}</ul>` : ''}</footer>`
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}
