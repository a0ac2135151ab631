"""The style sheet of pages: light and dark, for a wide screen, a telephone and paper."""

CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2126; --mute: #5c6670; --faint: #b9c0c7; --line: #e1e5e9; --soft: #f5f7f9;
  --accent: #2563b8; --good: #1d7f4f; --bad: #b3401f }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e4e8ec; --mute: #9aa5af; --faint: #4b545c; --line: #2b3238; --soft: #1c2125;
  --accent: #7fb2f5; --good: #58c08c; --bad: #f08c6a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 2rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; margin: 0 }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 3.2rem 0 .9rem; padding-top: 1rem;
  border-top: 1px solid var(--line) }
h3 { font-size: 1.02rem; line-height: 1.3; margin: 0 0 .5rem }
h3:not(:first-child) { margin-top: 1.8rem }
p { margin: .5rem 0; max-width: 46rem }
a { color: var(--accent) }
header p, .mute, figcaption { color: var(--mute) }
figcaption, .note { font-size: .88rem; line-height: 1.45 }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: 1rem; font-size: .9rem }
nav a { padding: .2rem .75rem; border: 1px solid var(--line); border-radius: 2rem; text-decoration: none }
nav a:hover { border-color: var(--accent) }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .9rem;
  margin: 1rem 0 }
.tile { background: var(--soft); border-radius: .6rem; padding: .9rem 1.1rem; min-width: 0; overflow-wrap: anywhere }
.tile .mute { font-size: .82rem }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums }
.tile .words { font-size: 1.05rem }

.wide { overflow-x: auto }
table { border-collapse: collapse; min-width: min(100%, 40rem); font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: baseline; padding: .42rem 1rem .42rem 0; white-space: nowrap;
  border-bottom: 1px solid var(--line) }
th { font-size: .82rem; font-weight: 600; color: var(--mute); border-color: var(--faint) }
th:last-child, td:last-child { padding-right: 0 }
td:first-child, .name, .wrap { white-space: normal; overflow-wrap: anywhere; min-width: 10rem }
.wrap { min-width: 12rem }
.number { display: inline-block; min-width: 1.45em; padding: 0 .3em; border-radius: .35em; margin-right: .5em;
  color: #0d1013; font-size: .78rem; font-weight: 700; line-height: 1.6; text-align: center }
.number:empty { min-width: 1.1em; height: .8em; vertical-align: -.05em }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1rem; margin: 1.2rem 0 .6rem; padding: 0;
  font-size: .84rem }
.bar { display: inline-block; vertical-align: middle; height: .6rem; margin-right: .6rem; border-radius: .3rem;
  background: #3b7dd8 }

.panels { display: grid; gap: 1.2rem 1.8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)) }
.panels:has(> :nth-child(4):last-child) { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
figure { margin: 0; min-width: 0 }
figure svg { display: block; width: 100%; max-width: 32rem; height: auto; overflow: visible }
svg text { font-family: inherit !important }

.tabs { display: flex; flex-wrap: wrap; gap: .4rem }
.tabs > input { position: absolute; opacity: 0; pointer-events: none }
.tabs > label { padding: .25rem .8rem; border: 1px solid var(--faint); border-radius: 2rem; font-size: .9rem;
  cursor: pointer }
.tabs > label:hover { border-color: var(--accent) }
.tabs > input:checked + label { background: var(--accent); border-color: var(--accent); color: var(--paper) }
.tabs > input:focus-visible + label { outline: 2px solid var(--accent); outline-offset: 2px }
.tabs > div { order: 1; width: 100%; display: none; margin-top: .8rem }
.tabs > input:checked + label + div { display: block }

pre { background: var(--soft); border-radius: .5rem; padding: .9rem 1.1rem; margin: .6rem 0; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
.good { color: var(--good) }
.bad { color: var(--bad) }
details { border-bottom: 1px solid var(--line); padding: .5rem 0 }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere }
summary .mute { font-weight: 400; margin-left: .4rem }
details details { border: 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: .7rem 0; font-size: .93rem }
dt { color: var(--mute) }
dd { margin: 0; overflow-wrap: anywhere }
dd code, p code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }

@media (max-width: 68rem) {
  th, td { padding-right: .6rem; font-size: .86rem }
  th { font-size: .78rem }
  .number { font-size: .72rem } }
@media screen and (max-width: 56rem) {
  body { padding: 1.2rem 1rem 3rem }
  h1 { font-size: 1.5rem }
  h2 { margin-top: 2.4rem; font-size: 1.2rem }
  dl { grid-template-columns: 1fr; gap: 0 }
  dd { margin-bottom: .5rem }
  table, tbody, tr, td { display: block }
  thead { display: none }
  tr { padding: .6rem 0; border-bottom: 1px solid var(--line) }
  td { display: flex; gap: 1rem; justify-content: space-between; border: 0; padding: .1rem 0; white-space: normal;
    text-align: right; min-width: 0 }
  td::before { content: attr(data-label); color: var(--mute); text-align: left; flex: none }
  td:first-child { display: block; font-weight: 600; text-align: left; padding-bottom: .2rem }
  td:first-child::before, td:empty { display: none }
  .name, .wrap { min-width: 0 }
  .wrap { display: block; text-align: left }
  .wrap::before { content: none } }
@media print {
  :root { --paper: #fff; --ink: #000; --mute: #444; --faint: #bbb; --line: #ddd; --soft: #f4f4f4 }
  body { max-width: none; padding: 0; font-size: 10pt }
  nav { display: none }
  h2, h3, summary { break-after: avoid }
  figure, tr, .tile, dl > * { break-inside: avoid }
  .wide, pre { overflow: visible }
  pre { white-space: pre-wrap; font-size: 8pt }
  table { font-size: 8pt }
  th, td { white-space: normal; padding-right: .4rem }
  .number { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  .panels { grid-template-columns: 1fr 1fr 1fr }
  .tabs { display: block }
  .tabs > input { display: none }
  .tabs > label { border: 0; padding: 0; background: none !important; color: var(--ink) !important; font-weight: 600 }
  .tabs > div { display: block }
  details:not(details details)::details-content { content-visibility: visible; display: block } }
"""
"""Every tab is shown on paper, and what is folded, except for recipes. Without this style sheet the page is plain, and
complete."""
