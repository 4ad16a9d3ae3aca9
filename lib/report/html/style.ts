// How the page looks. No image, no font and no file beside it.
import { chartCss, paletteCss } from './palette.js'

export const pageCss = [
  paletteCss(':root'),
  chartCss,
  `*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1320px;margin:0 auto;padding:20px 16px 60px}
h1{font-size:1.5rem;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:0}h3{font-size:.95rem;margin:0;overflow-wrap:anywhere}
.note{color:var(--muted);font-size:.9rem;margin:2px 0 8px;max-width:80ch}
.lead{font-size:1.1rem;margin:6px 0 12px;max-width:90ch;overflow-wrap:anywhere}
.scroll{overflow-x:auto;margin:0 0 16px}
table{border-collapse:collapse;background:var(--card);font-size:.92rem}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--muted);font-weight:500}
.change{color:var(--muted);font-size:.85rem}
.sign{width:14px;height:12px;vertical-align:-1px;margin-right:7px}
.figure{margin:22px 0 0}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:12px}
.panel{margin:0;background:var(--card);border-radius:8px;padding:10px 12px;min-width:0}
.panel figcaption{margin:0 0 4px}
svg.chart{display:block;width:100%;max-width:520px;height:auto}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:0 12px}
.pair .figure{min-width:0;display:grid;grid-template-rows:subgrid;grid-row:span 3;align-content:start}.pair .figure h2{align-self:end}.pair .panels{grid-template-columns:1fr;align-content:start}
.controls{display:flex;flex-wrap:wrap;gap:8px 18px;align-items:center;margin:8px 0;font-size:.92rem}
.controls label,.pager{display:flex;gap:6px;align-items:center}
.controls select{max-width:16rem}
select,button,input{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--axis);border-radius:5px;padding:3px 7px}
input[type=range]{padding:0;border:0;background:none;width:130px;accent-color:var(--c0)}
output{min-width:5.2em}
button:disabled{opacity:.45}
.member{background:var(--card);border-radius:8px;padding:8px 12px;margin:8px 0;border-left:3px solid var(--axis)}
.shown{border-left:3px double var(--ink)}
.facts{margin:0 0 4px;font-size:.88rem;color:var(--muted);overflow-wrap:anywhere;unicode-bidi:isolate}
.right{color:var(--c0)}.wrong{color:var(--c1)}
.text{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:.92rem/1.6 ui-monospace,monospace;max-height:30em;overflow-y:auto;unicode-bidi:isolate}
.prompt{background:var(--card);border-radius:8px;padding:8px 12px}
.p1{background:color-mix(in srgb,var(--unlikely) 25%,transparent)}
.p2{background:color-mix(in srgb,var(--unlikely) 50%,transparent)}
.p3{background:color-mix(in srgb,var(--unlikely) 75%,transparent);text-decoration:underline dotted}
.p4{background:var(--unlikely);text-decoration:underline double}
.gain1{background:color-mix(in srgb,var(--gain) 55%,transparent)}.gain2{background:var(--gain)}
.loss1{background:color-mix(in srgb,var(--loss) 55%,transparent);text-decoration:underline dotted}.loss2{background:var(--loss);text-decoration:underline dotted}
.left-out{color:var(--muted)}.legend span{color:var(--ink);padding:0 3px}
footer{margin-top:28px}footer li{overflow-wrap:anywhere}`,
].join('\n')
