"""How report.html looks: one column that a phone shows without scrolling sideways, in light and in dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #111827; --paper: #ffffff; --quiet: #57606a; --line: #d8dee4;
  --good: #00704f; --bad: #b42318; --open: #8a5300 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --quiet: #9aa4af; --line: #30363d;
  --good: #3fcf9b; --bad: #ff8b80; --open: #f0b35a } }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 }
main { max-width: 58rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
.answer { font-size: 1.1rem; border-left: .3rem solid var(--open); padding: .4rem .8rem; margin: 0 0 1rem }
.answer b { color: var(--open) } .ACCEPT b { color: var(--good) } .ACCEPT { border-color: var(--good) }
.REJECT b { color: var(--bad) } .REJECT { border-color: var(--bad) }
.note, figcaption, footer { color: var(--quiet); font-size: .9rem } .note { margin: 0 0 .6rem }
.scroll { overflow-x: auto; margin: .6rem 0 } table { border-collapse: collapse; font-size: .9rem }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child, .wide th, .wide td { text-align: left }
.wide td:last-child { white-space: normal; min-width: 16rem }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto; background: #fff; border-radius: 6px }
.chart { width: 100%; color: var(--ink) } .chart svg { max-width: 100%; height: auto }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .2rem 1rem; font-size: .9rem }
dt { color: var(--quiet) } dd { margin: 0 }
@media (max-width: 560px) { dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem } body { font-size: 15px } }
@media print { .scroll { overflow: visible } }
"""
