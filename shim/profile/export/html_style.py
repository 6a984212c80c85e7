"""
What does the page look like?  Its one style sheet; colours follow the reader's light or dark preference.

Risk has a colour, a word and a place in the order, so that none of the three is needed to read the others.
"""

# ruff: noqa: E501  # declarations of a style sheet stay on one line

from __future__ import annotations

from shim.profile.export.markup import Markup

_RISKS = ("critical", "high", "moderate", "low")

_SHEET = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #ffffff; --ink: #16202c; --dim: #5a6675;
  --line: #dde2e8; --accent: #2456b3; --soft: #edf1f6;
  --critical: #b3182d; --critical-soft: #fde8ea; --high: #9a5200; --high-soft: #fdf0dc;
  --moderate: #1f5fa8; --moderate-soft: #e5effa; --low: #3d6b4f; --low-soft: #e6f2ea;
  --shadow: 0 1px 2px rgb(20 32 48 / 8%); }
@media (prefers-color-scheme: dark) { :root { --paper: #10151b; --card: #181f28; --ink: #e4e9ef; --dim: #9aa7b5;
  --line: #2a3441; --accent: #8ab4ff; --soft: #212a35;
  --critical: #ff8c98; --critical-soft: #451a22; --high: #f5b75c; --high-soft: #402c10;
  --moderate: #86b9f5; --moderate-soft: #17304d; --low: #8bc9a1; --low-soft: #18352a;
  --shadow: none; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
code { font: 0.92em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
header, main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
.kind { margin: 0; color: var(--dim); font-size: 0.8rem; letter-spacing: 0.08em; text-transform: uppercase; }
h1 { margin: 0 0 0.9rem; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.6rem; font-size: 1.08rem; line-height: 1.3; }
h3 { margin: 1rem 0 0.3rem; font-size: 0.95rem; }
h4 { margin: 0.9rem 0 0.25rem; font-size: 0.78rem; font-weight: 600; color: var(--dim);
  letter-spacing: 0.04em; text-transform: uppercase; }
.state { display: inline-block; vertical-align: 0.32em; padding: 0.1rem 0.6rem; border-radius: 1rem;
  font-size: 0.8rem; font-weight: 600; }
.complete { background: var(--low-soft); color: var(--low); }
.incomplete { background: var(--critical-soft); color: var(--critical); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; margin: 0 0 1.5rem; }
dt { color: var(--dim); }
dd { margin: 0; min-width: 0; }
ul, ol { margin: 0.2rem 0; padding-left: 1.3rem; }
.dim, .note { color: var(--dim); }
.note { margin: 0.4rem 0 0; font-size: 0.87rem; }
.count { color: var(--dim); font-weight: 400; }
section { margin: 0 0 1.6rem; }
.warning { padding: 1rem 1.25rem; border: 1px solid var(--critical); border-left-width: 5px;
  border-radius: 0.5rem; background: var(--critical-soft); }
.warning h2 { color: var(--critical); }
.warning p { margin: 0.2rem 0; }
.total { margin: 0 0 0.5rem; }
.total strong { font-size: 1.5rem; }
.bar { display: block; width: 100%; height: 0.7rem; border-radius: 0.35rem; background: var(--soft); }
rect.critical { fill: var(--critical); } rect.high { fill: var(--high); }
rect.moderate { fill: var(--moderate); } rect.low { fill: var(--low); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.75rem; margin: 0.9rem 0 1.2rem; padding: 0;
  list-style: none; }
.tiles li { padding: 0.7rem 0.9rem; border: 1px solid var(--line); border-top: 4px solid; border-radius: 0.5rem;
  background: var(--card); box-shadow: var(--shadow); }
.tiles strong { display: block; font-size: 1.7rem; line-height: 1.15; }
.tiles .name { font-weight: 600; }
.tiles .meaning { display: block; margin-top: 0.15rem; color: var(--dim); font-size: 0.83rem; line-height: 1.35; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); }
th, td { padding: 0.4rem 0.8rem; border-bottom: 1px solid var(--line); text-align: left; overflow-wrap: anywhere; }
thead th { color: var(--dim); font-size: 0.83rem; font-weight: 600; white-space: nowrap; }
.number { font-variant-numeric: tabular-nums; }
.shares { width: 34%; min-width: 6rem; }
.contents { display: flex; flex-wrap: wrap; gap: 0.15rem 1.1rem; margin: 0 0 1.2rem; font-size: 0.88rem; }
.contents a { color: var(--accent); text-decoration: none; }
.contents a:hover { text-decoration: underline; }
.choices { display: flex; flex-wrap: wrap; gap: 0.6rem 2rem; margin: 0 0 1.2rem; padding: 0.6rem 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); background: var(--paper); }
fieldset { display: flex; flex-wrap: wrap; align-items: center; gap: 0.35rem; min-width: 0; margin: 0; padding: 0;
  border: 0; }
legend { float: left; margin-right: 0.6rem; padding: 0; color: var(--dim); font-size: 0.9rem; }
label { position: relative; cursor: pointer; max-width: 100%; }
label span { display: block; padding: 0.12rem 0.75rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--card); font-size: 0.88rem; overflow-wrap: anywhere; }
input { position: absolute; opacity: 0; }
input:checked + span { border-color: var(--accent); background: var(--accent); color: var(--paper); }
input:focus-visible + span, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.group { border: 1px solid var(--line); border-radius: 0.6rem; background: var(--card); box-shadow: var(--shadow);
  overflow: hidden; }
.group h2 { margin: 0; padding: 0.7rem 1rem; background: var(--soft); }
.call { border-top: 1px solid var(--line); }
.call > summary { display: grid; grid-template-columns: 0.7rem 5.4rem minmax(8.5rem, auto) 1fr auto;
  gap: 0 0.9rem;
  align-items: baseline; padding: 0.42rem 1rem; cursor: pointer; list-style: none; }
.call > summary::-webkit-details-marker { display: none; }
.call > summary::before { content: "▸"; color: var(--dim); }
.call[open] > summary::before { content: "▾"; }
.call > summary:hover { background: var(--soft); }
.call[open] > summary { background: var(--soft); }
.syscall { font-size: 0.97em; font-weight: 600; }
.phrase { color: var(--dim); }
.chip { justify-self: start; padding: 0 0.55rem; border-radius: 1rem; font-size: 0.76rem; font-weight: 600; }
.marks { display: flex; flex-wrap: wrap; gap: 0.3rem; justify-content: flex-end; min-width: 0; }
.mark { padding: 0 0.5rem; border: 1px solid var(--line); border-radius: 0.3rem; color: var(--dim);
  font-size: 0.76rem; overflow-wrap: anywhere; }
.nr { min-width: 3.4rem; border-color: transparent; text-align: right; font-variant-numeric: tabular-nums; }
.narrow { border-color: var(--low); color: var(--low); }
.reasons { padding: 0.1rem 1rem 1rem 1.2rem; border-left: 4px solid var(--line); }
.phases { margin-top: 0.8rem; color: var(--accent); }
.chain, .sites, .conditions { font-size: 0.93rem; }
.sites { columns: 2; column-gap: 2rem; }
.sites li { break-inside: avoid; overflow-wrap: anywhere; }
.names { display: flex; flex-wrap: wrap; gap: 0.3rem; margin: 0.4rem 0 0.8rem; }
.names code { padding: 0 0.5rem; border-radius: 0.3rem; font-size: 0.84rem; }
.all > summary { cursor: pointer; color: var(--accent); }
.foundations ul { list-style: none; padding: 0; }
.nothing { display: none; color: var(--dim); }
footer { padding-top: 0.5rem; padding-bottom: 2.5rem; color: var(--dim); font-size: 0.83rem; }
@media (max-width: 46rem) {
  header { padding-top: 1.25rem; }
  h1 { font-size: 1.55rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.35rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .call > summary { grid-template-columns: 0.7rem 5.4rem 1fr auto; row-gap: 0.1rem; }
  .phrase { grid-column: 2 / -1; grid-row: 2; font-size: 0.9rem; }
  .marks { grid-column: 4; grid-row: 1; }
  .marks .phase, .marks .narrow { display: none; }
  .sites { columns: 1; }
}
@media print { .choices { display: none; } body { background: none; } .group { break-inside: auto; } }
"""


def style_sheet(phases: int) -> Markup:
    """Return the style sheet of a page that can choose among so many phases."""
    return Markup(_SHEET + "".join([*_risk_rules(), *_phase_rules(phases)]))


def _risk_rules() -> list[str]:
    rules = []
    for risk in _RISKS:
        rules.append(
            f".{risk}.chip, .names .{risk} {{ background: var(--{risk}-soft); color: var(--{risk}); }}\n"
        )
        rules.append(f".tiles .risk-{risk} {{ border-top-color: var(--{risk}); }}\n")
        rules.append(f".tiles .risk-{risk} strong {{ color: var(--{risk}); }}\n")
        rules.append(f".is-{risk}[open] > .reasons {{ border-left-color: var(--{risk}); }}\n")
        rules += _choice(f"#risk-{risk}", f".is-{risk}")
    return rules


def _phase_rules(phases: int) -> list[str]:
    rules = []
    for number in range(phases):
        rules += _choice(f"#phase-{number}", f".in-{number}")
        for risk in _RISKS:
            both = f":root:has(#risk-{risk}:checked):has(#phase-{number}:checked)"
            kept = f".call.is-{risk}.in-{number}"
            rules.append(f"{both} .group:not(:has({kept})) {{ display: none; }}\n")
            rules.append(f"{both}:not(:has({kept})) .nothing {{ display: block; }}\n")
    return rules


def _choice(chosen: str, kept: str) -> list[str]:
    """Hide the other calls, and groups that have nothing else."""
    return [
        f":root:has({chosen}:checked) .call:not({kept}) {{ display: none; }}\n",
        f":root:has({chosen}:checked) .group:not(:has(.call{kept})) {{ display: none; }}\n",
    ]
