"""The style sheet of the report: system fonts, light and dark, screen and paper."""

from __future__ import annotations

from typing import Final

__all__ = ["CSS"]

CSS: Final = """
:root { --ink: #1b1f24; --muted: #5a646d; --line: #dde2e7; --page: #f6f7f9; --card: #ffffff; --accent: #0072b2;
  --good: #00734f; --good-soft: #e3f3ec; --warn: #a34400; --warn-soft: #fdf0e3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ec; --muted: #9ba5ae; --line: #343b42; --page: #14171a; --card: #1d2125; --accent: #6cb6e8;
    --good: #5cc9a0; --good-soft: #16302a; --warn: #f0a35e; --warn-soft: #35261a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 10px; }
p { margin: 0; }
code { font: 0.88em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
a { color: var(--accent); }
.kicker { text-transform: uppercase; letter-spacing: 0.08em; font-size: 12px; color: var(--muted); }
.facts, .lead, .note, .none, footer { color: var(--muted); }
.lead, .note { font-size: 13.5px; margin: 0 0 10px; }
.note { margin: 10px 0 0; }
.verdict { margin: 18px 0 0; padding: 12px 16px; border-left: 4px solid; border-radius: 4px; }
.verdict.good { border-color: var(--good); background: var(--good-soft); }
.verdict.warn { border-color: var(--warn); background: var(--warn-soft); }
.verdict.good strong { color: var(--good); }
.verdict.warn strong { color: var(--warn); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 20px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tile.warn { border-color: var(--warn); }
.tile .label { font-size: 13px; color: var(--muted); }
.tile .value { font-size: 24px; font-weight: 650; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .detail { font-size: 13px; color: var(--muted); }
.mark { display: inline-block; width: 17px; margin-left: 6px; border-radius: 50%; background: var(--warn); color: var(--card);
  font-weight: 700; line-height: 17px; text-align: center; }
main > section:not(.tiles) { margin: 32px 0 0; }
.findings { list-style: none; margin: 0; padding: 0; }
.findings li { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--line); border-radius: 4px;
  padding: 9px 14px; margin: 0 0 8px; overflow-wrap: anywhere; }
.findings li.warn { border-left-color: var(--warn); }
.findings .severity { font-weight: 650; margin-right: 4px; }
.findings .warn .severity { color: var(--warn); }
.findings code { color: var(--muted); }
figure { margin: 0; }
.plate { background: #ffffff; border: 1px solid var(--line); border-radius: 8px; padding: 14px; text-align: center; }
.plate svg { max-width: 100%; height: auto; vertical-align: middle; }
figcaption { color: var(--muted); font-size: 13.5px; margin: 8px 2px 0; max-width: 95ch; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--muted); vertical-align: bottom; }
tbody tr:last-child td { border-bottom: 0; }
th.figure, td.figure { text-align: right; font-variant-numeric: tabular-nums; }
td.figure { white-space: nowrap; }
td bdi { display: inline-block; width: max-content; max-width: 30ch; overflow-wrap: anywhere; }
footer { margin: 36px 0 0; padding: 14px 0 0; border-top: 1px solid var(--line); font-size: 13px; }
@media print {
  :root { --ink: #000; --muted: #444; --line: #bbb; --page: #fff; --card: #fff; --good-soft: #fff; --warn-soft: #fff; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .tiles { grid-template-columns: repeat(5, 1fr); gap: 6px; }
  .tile { padding: 6px 8px; }
  .tile .value { font-size: 13pt; }
  h2, .lead, thead { break-after: avoid; }
  figure, li, tr, .tiles { break-inside: avoid; }
  .plate { padding: 0; border: 0; }
  .plate svg { max-height: 22cm; width: auto; }
  .scroll { overflow: visible; border: 0; }
  table { font-size: 8pt; }
  th, td { padding: 2px 5px; }
  td.figure { white-space: normal; }
}
"""
