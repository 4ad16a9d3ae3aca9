// The part of the page where completions are looked at: its controls, its data, its script.
import { completionsClient } from './completions-client.js'
import { escapeMarkup, scriptJson } from './markup.js'
import type { ShownRun } from './read-completions.js'

export interface ScriptedPart {
  html: string
  /** The text of its script, for the page's policy. */
  script: string | undefined
}

export function completionsView(runs: readonly ShownRun[]): ScriptedPart {
  if (runs.length === 0) {
    return { html: '<p class="note">No completions were logged (logCompletions).</p>', script: undefined }
  }
  const script = `(${completionsClient.toString()})()`
  const options = runs.map((run, i) => `<option value="${i}">${escapeMarkup(run.name, 80)}</option>`)
  const html = `<noscript><p class="note">Looking at completions needs scripts; the pictures do not.</p></noscript>
<div id="viewer" hidden>
<form class="controls">
<label>run <select id="run">${options.join('')}</select></label>
<label>step <input id="step" type="range" min="0" max="0" step="1" value="0"> <output id="step-name" for="step"></output></label>
<label>groups <select id="outcome"><option value="all">all</option><option>solved</option><option>mixed</option><option>unsolved</option><option>demonstrations</option></select></label>
<label>colour <select id="colour"><option value="probability">log-probability</option><option value="advantage">advantage</option></select></label>
<span class="pager"><button type="button" id="previous" aria-label="previous group">◀</button>
<input id="group" type="range" min="0" max="0" step="1" value="0" aria-label="group"> <output id="group-name" for="group"></output>
<button type="button" id="next" aria-label="next group">▶</button></span>
</form>
<p class="note legend">Token probability: <span class="p0">90% or more</span> <span class="p1">50–90%</span> <span class="p2">10–50%</span> <span class="p3">1–10%</span> <span class="p4">below 1%</span>. Advantage: <span class="gain2">0.5 or more</span> <span class="gain1">above 0</span> <span class="loss1">below 0</span> <span class="loss2">-0.5 or less</span>.</p>
<div id="shown-group" aria-live="polite"></div>
<p class="note" id="left-out"></p>
</div>
<script type="application/json" id="completions-data">${scriptJson(runs)}</script>
<script>${script}</script>`
  return { html, script }
}
