"""``report.html``: the report for people, one file with everything in it.

The page is made from the content of ``report.json`` and the pictures alone. It has no script and asks for nothing: its content
security policy lets a browser load pictures from the page itself and nothing else. Names come from strangers, so all text is
escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from processor.model import Artifact
from processor.report.findings import LOWEST_CONTRAST
from processor.report.page_style import CSS
from processor.report.svg import Picture
from processor.report.tables import artifacts_table, bands_table, overlaps_table, parameters_table, scenes_table
from processor.report.text import DASH, clip_text, count_text, coverage_text, format_change, format_figure, name_html, rest_html

__all__ = ["render_page"]

_FINDINGS: Final = 60  # items
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_CAPTIONS: Final = {
    "mosaic": (
        "Mosaic and seamlines",
        """Each outline is the part of the mosaic that one scene owns; names or numbers are those of the table of scenes. A
        seam that you can see without its line is one that matching did not hide. Colours are stretched from the 2nd to the 98th
        percentile for this picture only.""",
    ),
    "residuals": (
        "Differences where scenes overlap",
        """Shorter is better. Left: the RMS difference of the two scenes' pixels; noise, shifts of a pixel and changed ground
        keep it above zero. Right: the size of their mean difference, which is what shows as a step at a seam and should nearly
        vanish. All bands together (quadratic mean); worst pair first.""",
    ),
    "adjustments": (
        "Gains and offsets",
        """What the global regression does to each scene: y = gain · x + offset. The vertical lines are the values that change
        nothing. Gains that all lie left of 1 mean that the mosaic has less contrast than the scenes; one scene far from the
        others is worth a look at its units, haze or clouds.""",
    ),
    "agreement": (
        "Pixel against pixel in the worst overlaps",
        """Each panel counts the samples of an overlap, darker where there are more: one scene's values across, the other's
        upwards. Matched scenes lie along the dashed line; a cluster beside it is ground that differs between the scenes.""",
    ),
    "coverage": (
        "Which scene each pixel came from",
        """White is outside every scene. White inside an outline is a gap; a speck of another colour is a place where the cell's
        owner has no valid pixel and another scene filled in.""",
    ),
}


def render_page(
    report: Mapping[str, Any],
    pictures: Sequence[Picture],
    artifacts: Sequence[Artifact] = (),
    *,
    page_path: str = "report.html",
) -> bytes:
    """The page, UTF-8.

    Parameters
    ----------
    report
        From :func:`~processor.report.document.build_report`.
    pictures
        In the order in which they are shown; their names choose the captions.
    artifacts
        To list and link, relative to the page.
    page_path
        Where the page will lie, relative to the Item's folder.
    """
    title = f"Mosaic {clip_text(report['run']['item_id'])}"
    body = "\n".join(
        [
            _header(report),
            _tiles(report),
            _findings(report["findings"]),
            *(_figure(picture) for picture in pictures),
            scenes_table(report),
            overlaps_table(report),
            bands_table(report),
            parameters_table(report),
            artifacts_table(artifacts, page_path.count("/")),
            _footer(report),
        ]
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return page.encode("utf-8", "replace")


def _header(report: Mapping[str, Any]) -> str:
    summary, run, grid = report["summary"], report["run"], report["grid"]
    warnings = summary["warnings"]
    verdict = count_text(warnings, "warning") if warnings else "No warnings"
    advice = ": read before use." if warnings else "."
    facts = (
        f"{count_text(summary['scenes'], 'scene')}, {count_text(summary['overlaps'], 'overlap')}, "
        f"{grid['width']:,} &times; {grid['height']:,} pixels of {grid['pixel_width']:.6g} &times; "
        f"{grid['pixel_height']:.6g} {escape(grid['unit'])}, {escape(clip_text(grid['crs_name']))}"
    )
    return (
        f'<header>\n<p class="kicker">Mosaic report</p>\n<h1>{name_html(run["item_id"])}</h1>\n<p class="facts">{facts}</p>\n'
        f'<p class="verdict {"warn" if warnings else "good"}"><strong>{verdict}</strong>{advice} {_sentence(summary)}</p>\n'
        "</header>"
    )


def _sentence(summary: Mapping[str, Any]) -> str:
    """The verdict in words."""
    if summary["coverage"] is None:
        covered = "No scene has a valid pixel."
    else:
        covered = f"The mosaic covers {coverage_text(summary['coverage'])} of what the scenes cover."
    parts = [covered]
    changes = [
        f"their {name} difference from {format_figure(summary[f'{key}_before'])} to {format_figure(summary[f'{key}_after'])}"
        for name, key in (("mean", "bias"), ("RMS", "residual"))
        if summary[f"{key}_before"] is not None and summary[f"{key}_after"] is not None
    ]
    if changes:
        parts.append(f"Where scenes overlap, matching took {' and '.join(changes)} (source units).")
    spread = (summary["residual_before_percent_of_spread"], summary["residual_after_percent_of_spread"])
    if summary["contrast"] is not None and summary["contrast"] < LOWEST_CONTRAST and None not in spread:
        parts.append(
            "Lower contrast alone makes differences smaller: in percent of the scenes' own standard deviation, the RMS "
            f"difference went from {spread[0]:.0f} % to {spread[1]:.0f} %."
        )
    if summary["overlaps"] == 0:
        parts.append("No two scenes overlap, so there was nothing to match.")
    return escape(" ".join(parts))


def _tiles(report: Mapping[str, Any]) -> str:
    summary, coverage = report["summary"], report["coverage"]
    contrast, missing = summary["contrast"], coverage["missing_pixels"]
    codes = {finding["code"] for finding in report["findings"] if finding["severity"] == "warning"}
    tiles = [
        _tile(
            "Coverage",
            coverage_text(summary["coverage"]),
            "no pixel is missing" if not missing else f"{count_text(missing, 'pixel')} missing",
            warn=missing > 0,
        ),
        _tile(
            "Mean difference",
            _arrow(summary["bias_before"], summary["bias_after"]),
            _detail(summary["bias_before"], summary["bias_after"], summary["bias_after_percent"], "of the mean level"),
            warn=False,
        ),
        _tile(
            "RMS difference",
            _arrow(summary["residual_before"], summary["residual_after"]),
            _detail(
                summary["residual_before"], summary["residual_after"], summary["residual_after_percent"], "of the mean level"
            ),
            warn="residual-raised" in codes,
        ),
        _tile(
            "Contrast kept",
            DASH if contrast is None else f"{100 * contrast:.0f} %",
            f"by the gains, least band; below {100 * LOWEST_CONTRAST:.0f} % is reported",
            warn="contrast-lowered" in codes,
        ),
        _tile(
            "Findings",
            str(summary["warnings"] + summary["infos"]),
            f"{count_text(summary['warnings'], 'warning')}, {count_text(summary['infos'], 'note')}",
            warn=summary["warnings"] > 0,
        ),
    ]
    return f'<section class="tiles" aria-label="Summary">\n{"".join(tiles)}</section>'


def _tile(label: str, value: str, detail: str, *, warn: bool) -> str:
    mark = '<span class="mark" title="see the findings">!</span>' if warn else ""
    return (
        f'<div class="tile{" warn" if warn else ""}"><p class="label">{escape(label)}{mark}</p>'
        f'<p class="value">{escape(value)}</p><p class="detail">{escape(detail)}</p></div>\n'
    )


def _arrow(before: float | None, after: float | None) -> str:
    if before is None and after is None:
        return DASH
    small = before is not None and after is not None and after < before / 10
    return f"{format_figure(before)} → {format_figure(after, 2 if small else 3)}"


def _detail(before: float | None, after: float | None, percent: float | None, whole: str) -> str:
    parts = [format_change(before, after), "" if percent is None else f"now {format_figure(percent, 2)} % {whole}"]
    return "; ".join(part for part in parts if part) or "unknown"


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return '<section>\n<h2>Findings</h2>\n<p class="none">Nothing to report.</p>\n</section>'
    items = [
        f'<li class="{"warn" if finding["severity"] == "warning" else "info"}">'
        f'<span class="severity">{"Warning" if finding["severity"] == "warning" else "Note"}</span> '
        f"{_about(finding)} <code>{escape(str(finding['code']))}</code></li>"
        for finding in findings[:_FINDINGS]
    ]
    note = rest_html(len(findings), _FINDINGS, "findings")
    return f'<section>\n<h2>Findings</h2>\n<ul class="findings">\n{chr(10).join(items)}\n</ul>{note}\n</section>'


def _about(finding: Mapping[str, Any]) -> str:
    message = str(finding["message"])[:2000]
    if finding["scene"] is None:
        return escape(message[:1].upper() + message[1:])
    return f"<strong>{name_html(finding['scene'])}</strong>: {escape(message)}"


def _figure(picture: Picture) -> str:
    title, caption = _CAPTIONS.get(picture.name, (picture.name, ""))
    return (
        f'<section>\n<h2>{escape(title)}</h2>\n<figure>\n<div class="plate">{picture.markup}</div>\n'
        f"<figcaption>{escape(' '.join(caption.split()))}</figcaption>\n</figure>\n</section>"
    )


def _footer(report: Mapping[str, Any]) -> str:
    run = report["run"]
    return (
        f"<footer>\n<p>{escape(run['software'])} {escape(run['version'])}. Digest of inputs and configuration: "
        f"<code>{escape(run['digest'])}</code>. All figures, in full: <code>report.json</code>, schema version "
        f"{escape(report['schema_version'])}. Requests and bytes of a run over the network: <code>traffic.json</code> beside "
        "it, which is of that run alone.</p>\n</footer>"
    )
