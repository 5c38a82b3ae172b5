"""The look and behaviour of the page: its style sheet and its script, both inlined.

The page may load nothing, neither from the network nor from beside it: it is opened from disk,
mailed, and shown in the sandboxed frames of other user interfaces.
"""

CONTENT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

CSS = """
:root { color-scheme: light dark;
  --text: #1d2330; --soft: #5b6473; --line: #dfe3ea; --card: #f6f7f9; --page: #ffffff;
  --good: #19784a; --stop: #a05a00; --bad: #b8322a; --accent: #2f68c4; --win: #e9f6ee; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e4e7ec; --soft: #9aa3b2; --line: #343b47; --card: #1e232c; --page: #15191f;
  --good: #4cc38a; --stop: #e9a04b; --bad: #f0736a; --accent: #7aa7f0; --win: #1a2f25; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 28px; margin: 0; line-height: 1.2; }
h2 { font-size: 19px; margin: 44px 0 6px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 18px 0 0; font-weight: 600; }
p { margin: 6px 0; max-width: 78ch; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--card); padding: 14px 16px; border-radius: 8px; overflow-x: auto; }
.soft { color: var(--soft); }
.chip { display: inline-block; padding: 0 9px; border-radius: 10px; font-size: 13px;
  font-weight: 600; border: 1px solid currentColor; white-space: nowrap; }
.succeeded, .met { color: var(--good); } .stopped, .interrupted, .undecided { color: var(--stop); }
.failed, .missed { color: var(--bad); } .running { color: var(--accent); }
.waiting { color: var(--soft); }
header .chip { vertical-align: 5px; margin-left: 10px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(185px, 1fr)); gap: 12px;
  margin: 18px 0; }
.tile { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 23px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; display: block; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(360px, 100%), 1fr));
  gap: 8px 28px; align-items: start; }
.slices { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr));
  gap: 4px 16px; }
.pairs > div, .slices > div { min-width: 0; }
.box { overflow: auto; max-height: 760px; border: 1px solid var(--line); border-radius: 8px;
  margin: 10px 0; }
table { border-collapse: separate; border-spacing: 0; font-size: 13.5px; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 11px; text-align: left; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
tr:last-child > td, tr:last-child > th[scope=row] { border-bottom: 0; }
thead th { position: sticky; top: 0; background: var(--card); z-index: 1; font-weight: 600; }
.number { text-align: right; }
.wrap { white-space: normal; overflow-wrap: break-word; }
.wrap:last-child { overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); }
.sortable thead th { padding: 0; }
.sortable td { text-align: right; } .sortable .text { text-align: left; }
.sortable button { all: unset; cursor: pointer; display: block; padding: 6px 11px;
  width: 100%; box-sizing: border-box; }
.rest { font: inherit; color: var(--accent); background: var(--card); cursor: pointer;
  border: 1px solid var(--line); border-radius: 8px; padding: 6px 14px; }
.sortable button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
th[aria-sort] button::after { content: " \\25B2"; font-size: 9px; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
.sortable th:nth-child(2), .sortable td:nth-child(2) { position: sticky; left: 0;
  background: var(--page); z-index: 1; }
.sortable thead th:nth-child(2) { z-index: 2; background: var(--card); }
tr.winner td, .sortable tr.winner td:nth-child(2) { background: var(--win); }
.reason { display: block; white-space: normal; min-width: 200px; max-width: 300px;
  font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; }
.plot { margin: 6px 0; min-width: 0; overflow: hidden; }
.absent { color: var(--soft); font-style: italic; }
"""

SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = name => style.getPropertyValue(name).trim();
  const out = {...layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {color: colour('--text'), family: 'system-ui, sans-serif', size: 12},
    hoverlabel: {...layout.hoverlabel, bgcolor: colour('--card'), bordercolor: colour('--line'),
      font: {color: colour('--text')}}};
  for (const key of Object.keys(out).filter(key => /^[xy]axis/.test(key)))
    out[key] = {gridcolor: colour('--line'), zeroline: false, linecolor: colour('--line'),
      ...out[key]};
  out.annotations = layout.annotations?.map(text =>
    text.bgcolor ? {...text, bgcolor: colour('--page') + 'cc'} : text);
  return out;
}
function draw() {
  for (const place of document.querySelectorAll('.plot')) {
    const figure = JSON.parse(place.nextElementSibling.textContent);
    const options = {responsive: true, displayModeBar: false};  // its buttons cover the legend
    Plotly.react(place, figure.data, themed(figure.layout), options).catch(error => {
      place.textContent = 'This plot cannot be drawn here: ' + error.message;
    });
  }
}
draw();
dark.addEventListener('change', draw);
for (const head of document.querySelectorAll('.sortable th'))
  head.querySelector('button').addEventListener('click', () => {
    const [first, rest] = head.closest('table').tBodies, column = head.cellIndex;
    const down = head.getAttribute('aria-sort') === 'ascending';
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const compare = (a, b) => a === '' || b === '' ? (a === '') - (b === '')
      : (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b) * (down ? -1 : 1);
    for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const rows = [...first.rows, ...rest?.rows ?? []].sort((a, b) => compare(key(a), key(b)));
    const shown = first.rows.length;
    first.append(...rows.slice(0, shown));
    rest?.append(...rows.slice(shown));
  });
document.querySelector('.rest')?.addEventListener('click', event => {
  const shown = document.querySelector('tbody[hidden]');
  shown.hidden = false;
  shown.tabIndex = -1;
  shown.focus({ preventScroll: true });  // or the keyboard starts again at the top of the page
  event.target.remove();
});
"""
