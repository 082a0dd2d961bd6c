"""Charts of the figures: residuals of the overlaps, gains and offsets, agreement of pairs pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from processor.model import Adjustment, Band, Overlap
from processor.report.axes import (
    EDGE,
    Scale,
    choose_ticks,
    draw_columns,
    draw_rows,
    draw_title,
    draw_turned,
    fit_scale,
    format_ticks,
)
from processor.report.figures import STATES, OverlapResidual, State, compute_states, pool
from processor.report.pictures import encode
from processor.report.svg import (
    FONT,
    INK,
    MUTED,
    PALETTE,
    WIDTH,
    Picture,
    assemble,
    draw_image,
    draw_path,
    draw_rectangle,
    draw_text,
    elide,
    format_length,
    measure_text,
    trace_marks,
)
from processor.stages.matching.method import SceneCorrection

_STATE_NAMES: Final[dict[State, str]] = {"before": "before", "global": "after global", "local": "after local"}
_STATE_COLOURS: Final[dict[State, str]] = {"before": "#B5BDC5", "global": "#E69F00", "local": "#0072B2"}
_BAND_COLOURS: Final = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2", "nir": "#CC79A7"}
_SQUARE: Final = "m-4-4h8v8h-8z"
_MARKERS: Final = (  # path data from the centre: no two of neighbouring bands are alike where colours are not told apart
    "m-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",
    _SQUARE,
    "m0-4.8l4.8 8.4h-9.6z",
    "m0-5.4l5.4 5.4l-5.4 5.4l-5.4-5.4z",
    "m0 4.8l4.8-8.4h-9.6z",
    "m-1.6-4.8h3.2v3.2h3.2v3.2h-3.2v3.2h-3.2v-3.2h-3.2v-3.2h3.2z",
    "m0-2.2l2.6-2.6l2.2 2.2l-2.6 2.6l2.6 2.6l-2.2 2.2l-2.6-2.6l-2.6 2.6l-2.2-2.2l2.6-2.6l-2.6-2.6l2.2-2.2z",
    "m0-5.6l1.4 3.8h4l-3.2 2.5l1.2 3.9l-3.4-2.3l-3.4 2.3l1.2-3.9l-3.2-2.5h4z",
)
_DOT: Final = "h0"
_VIRIDIS: Final = (
    *("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"),
)
_MOST_PAIRS: Final = 40
_WORST_PAIRS: Final = 15
_AGREEMENTS: Final = 2  # pairs shown pixel by pixel
_MOST_SCENES: Final = 40
_BINS: Final = 64
_GAP: Final = 16  # pixels between panels
_SIDE: Final = 16  # pixels at the right of a panel, for half of its last number
_LEGEND: Final = 32  # pixels above them
_FOOT: Final = 44  # pixels below them, for numbers and words
_PAIR: Final = 38  # pixels a pair has
_SCENE: Final = 28
_BAND: Final = 57
_DISTRIBUTION: Final = 190
_WORDS: Final = ("RMS difference (source units)", "Size of the mean difference (source units)")


def draw_residuals(residuals: Sequence[OverlapResidual]) -> Picture | None:
    """RMS difference and bias of each overlap before and after each stage, worst first; None without overlaps.

    Up to 40 pairs get their own bars; of more, the distribution is shown and the 15 worst.
    """
    if not residuals:
        return None
    shown = sorted(residuals, key=_badness, reverse=True)
    parts = _draw_legend([_STATE_NAMES[state] for state in STATES], [_STATE_COLOURS[state] for state in STATES])
    top = float(_LEGEND)
    if len(shown) > _MOST_PAIRS:
        parts += _draw_distribution(residuals, top, top + _DISTRIBUTION)
        shown, top = shown[:_WORST_PAIRS], top + _DISTRIBUTION + _FOOT + 2.5 * FONT
        parts.append(draw_title(0, top - FONT, f"The {len(shown)} worst of {len(residuals):,} overlaps"))
    bottom = top + _PAIR * len(shown)
    labels = [f"{elide(r.first, 20)} - {elide(r.second, 20)}" for r in shown]
    parts += _draw_labels(labels, top, _PAIR)
    for side, (start, end) in enumerate(_split_width(labels)):
        parts += _draw_bars(shown, side, (start, end), (top, bottom))
    alt = f"Differences in {len(residuals)} overlaps before and after matching."
    return assemble("residuals", alt, bottom + _FOOT, parts)


def _badness(residual: OverlapResidual) -> tuple[float, float]:
    after, before = pool(residual.after_local.rms), pool(residual.before.rms)
    return (-1.0 if np.isnan(after) else after, -1.0 if np.isnan(before) else before)


def _values(residuals: Sequence[OverlapResidual], position: int, side: int) -> NDArray[np.float64]:
    """RMS difference (side 0) or size of the bias (1) of each pair in a state, quadratic means over the bands."""
    states = [residual.states[position] for residual in residuals]
    return np.array([pool(state.bias if side else state.rms) for state in states])


def _draw_legend(names: Sequence[str], colours: Sequence[str], shapes: Sequence[str] = ()) -> list[str]:
    """What the colours are, from the right above the panels, in as many entries as there is room for."""
    widths = [measure_text(name) + 34 for name in names]
    x, parts = max(0.0, WIDTH - sum(widths)), []
    for position, (name, colour, width) in enumerate(zip(names, colours, widths, strict=True)):
        if x + width > WIDTH + 1:
            break
        mark = f"M{format_length(x + 10)} 12{shapes[position]}" if shapes else f"M{format_length(x)} 7h18v10h-18z"
        parts += [draw_path(mark, fill=colour), draw_text(x + 24, 16.5, name)]
        x += width
    return parts


def _split_width(labels: Sequence[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Left and right edges of two panels beside labels."""
    left = max(map(measure_text, labels)) + 8
    half = (WIDTH - left - _GAP) / 2
    return (left, left + half - _SIDE), (WIDTH - half, WIDTH - _SIDE)


def _draw_labels(labels: Sequence[str], top: float, pitch: float) -> list[str]:
    """Names of the rows, before the left panel."""
    right = max(map(measure_text, labels))
    return [
        draw_text(right, top + pitch * (row + 0.5) + 0.35 * FONT, label, text_anchor="end") for row, label in enumerate(labels)
    ]


def _draw_bars(
    residuals: Sequence[OverlapResidual], side: int, across: tuple[float, float], down: tuple[float, float]
) -> Iterator[str]:
    columns = [np.nan_to_num(_values(residuals, position, side)) for position in range(len(STATES))]
    scale = fit_scale(columns, *across, zero=True)
    yield from draw_columns(scale, *down, _WORDS[side])
    for position, (state, values) in enumerate(zip(STATES, columns, strict=True)):
        tops = down[0] + _PAIR * (np.arange(len(residuals)) + 0.11 + 0.26 * position)
        bars = zip(tops, scale.place(values) - across[0], strict=True)
        start, height = format_length(across[0]), format_length(0.26 * _PAIR)
        data = "".join(
            f"M{start} {format_length(y)}h{format_length(width)}v{height}H{start}z" for y, width in bars if width >= 0.05
        )
        yield draw_path(data, fill=_STATE_COLOURS[state])
    yield draw_path(f"M{format_length(across[0])} {format_length(down[0])}V{format_length(down[1])}", stroke=EDGE)


def _draw_distribution(residuals: Sequence[OverlapResidual], top: float, bottom: float) -> Iterator[str]:
    columns = [[_values(residuals, position, side) for position in range(len(STATES))] for side in range(2)]
    for (left, right), values, words in zip(_split_width(["Overlaps 000000"]), columns, _WORDS, strict=True):
        known = [column[np.isfinite(column)] for column in values]
        most = max((float(column.max()) for column in known if column.size), default=1.0) or 1.0
        across = Scale(low=0.0, high=most, start=left, end=right)
        counts = [np.histogram(column, 40, (0.0, most))[0] for column in known]
        upwards = fit_scale([int(count.max()) for count in counts], bottom, top, zero=True)
        yield from draw_columns(across, top, bottom, words)
        yield from draw_rows(upwards, left, right)
        edges = [format_length(x) for x in across.place(np.linspace(0, most, 41))]
        for state, count in zip(STATES, counts, strict=True):
            steps = "".join(f"V{format_length(y)}H{x}" for y, x in zip(upwards.place(count), edges[1:], strict=True))
            data = f"M{edges[0]} {format_length(bottom)}{steps}V{format_length(bottom)}"
            yield draw_path(data, stroke=_STATE_COLOURS[state], stroke_width=1.8, fill="none")
    yield draw_turned(FONT, (top + bottom) / 2, "Overlaps")


def _band_names(bands: Sequence[Band]) -> list[str]:
    return [elide(band.label, 16) for band in bands]


def _band_colours(bands: Sequence[Band]) -> list[str]:
    common = [band.common_name for band in bands]
    if len(set(common)) == len(common) and all(name in _BAND_COLOURS for name in common):
        return [_BAND_COLOURS[str(name)] for name in common]
    return [PALETTE[position % len(PALETTE)] for position in range(len(bands))]


def draw_adjustments(adjustments: Sequence[Adjustment], bands: Sequence[Band]) -> Picture | None:
    """Gain and offset of each scene and band; of more than 40 scenes, their distribution. None where the stage is off."""
    if not adjustments:
        return None
    many = len(adjustments) > _MOST_SCENES
    labels = _band_names(bands) if many else [elide(a.scene, 28) for a in adjustments]
    pitch, top = (_BAND, 8) if many else (_SCENE, _LEGEND)
    bottom = top + pitch * len(labels)
    parts = _draw_labels(labels, top, pitch)
    if not many:
        shapes = [_marker(band) for band in range(len(bands))]
        parts += _draw_legend(_band_names(bands), _band_colours(bands), shapes)
    columns = (np.array([a.scale for a in adjustments]), np.array([a.offset for a in adjustments]))
    words = ("Gain (1 leaves the contrast as it is)", "Offset (source units)")
    for across, values, neutral, label in zip(_split_width(labels), columns, (1.0, 0.0), words, strict=True):
        scale = fit_scale(np.append(values, neutral), *across)
        x = format_length(float(scale.place(neutral)))
        if not many:  # every other row has a background
            for y in range(top, bottom, 2 * _SCENE):
                parts.append(draw_rectangle(across[0], y, across[1] - across[0], _SCENE, fill="#f5f7f8"))
        parts += draw_columns(scale, top, bottom, label)
        parts.append(draw_path(f"M{x} {top}V{bottom}", stroke=MUTED, stroke_width=1.4))
        parts += (_draw_spread if many else _draw_dots)(scale, values, bands, top)
    alt = f"Gains and offsets of {len(adjustments)} scenes in {len(bands)} bands."
    return assemble("adjustments", alt, bottom + _FOOT, parts)


def _marker(band: int) -> str:
    """Of another shape once the colours repeat."""
    return _MARKERS[(band + band // len(PALETTE)) % len(_MARKERS)]


def _draw_dots(scale: Scale, values: NDArray[np.float64], bands: Sequence[Band], top: float) -> Iterator[str]:
    """A mark for each scene and band."""
    rows = np.arange(len(values)) + 0.5
    step = 0.5 / max(1, len(bands))
    for band, colour in enumerate(_band_colours(bands)):
        known = np.isfinite(values[:, band])
        y = top + _SCENE * (rows + (band - (len(bands) - 1) / 2) * step)
        yield draw_path(trace_marks(scale.place(values[known, band]), y[known], _marker(band)), fill=colour)


def _draw_spread(scale: Scale, values: NDArray[np.float64], bands: Sequence[Band], top: float) -> Iterator[str]:
    """A box of the quartiles and 5th and 95th percentiles, and every scene as a dot under it."""
    for band, colour in enumerate(_band_colours(bands)):
        column = np.sort(values[np.isfinite(values[:, band]), band])
        if not column.size:
            continue
        y = top + _BAND * (band + 0.36)
        scatter = 0.26 + 0.22 * ((np.arange(column.size) * 0.6180339887) % 1.0)  # spread evenly, the same every time
        dots = trace_marks(scale.place(column), y + _BAND * scatter, _DOT)
        yield draw_path(dots, stroke=colour, stroke_width=3, stroke_linecap="round", stroke_opacity=0.5)
        low, first, middle, last, high = map(format_length, scale.place(np.percentile(column, (5, 25, 50, 75, 95))))
        half = format_length(0.13 * _BAND)
        yield draw_path(f"M{low} {format_length(y)}H{high}", stroke=colour, stroke_width=1.6)
        yield draw_path(f"M{first} {format_length(y)}m0-{half}H{last}v{format_length(0.26 * _BAND)}H{first}z", fill=colour)
        yield draw_path(f"M{middle} {format_length(y)}m0-{half}v{format_length(0.26 * _BAND)}", stroke="white", stroke_width=2)


def draw_agreement(
    overlaps: Sequence[Overlap],
    residuals: Sequence[OverlapResidual],
    adjustments: Sequence[Adjustment],
    corrections: Sequence[SceneCorrection],
    bands: Sequence[Band],
) -> Picture | None:
    """Values of one scene against the other's in the worst overlaps, state by state; None where there are no samples.

    Parameters
    ----------
    overlaps, residuals, adjustments, corrections
        Of the run; residuals of these overlaps.
    bands
        Of the scenes; the band with the greatest final difference is shown.
    """
    sampled = sorted((r for r in residuals if r.samples), key=_badness, reverse=True)[:_AGREEMENTS]
    if not sampled:
        return None
    by_pair = {(overlap.first, overlap.second): overlap for overlap in overlaps}
    adjusted = {adjustment.scene: adjustment for adjustment in adjustments}
    corrected = {correction.scene: correction for correction in corrections}
    parts: list[str] = []
    top = 2.0 * FONT
    for residual in sampled:
        states = compute_states(by_pair[residual.first, residual.second], adjusted, corrected) or ()
        band = int(np.argmax(np.nan_to_num(residual.after_local.rms)))
        pixels = [(first[band], second[band]) for first, second in states]
        drawn, bottom = _draw_pair(residual, pixels, _band_names(bands)[band], top)
        parts += drawn
        top = bottom + _FOOT + 3 * FONT
    alt = f"Values of both scenes against each other in the {len(sampled)} worst overlaps."
    return assemble("agreement", alt, top - 3 * FONT, parts)


def _draw_pair(
    residual: OverlapResidual, pixels: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], band: str, top: float
) -> tuple[list[str], float]:
    """The panels of a pair of scenes, one a state, and where they end."""
    low, high = map(float, np.percentile(np.concatenate([np.concatenate(pair) for pair in pixels]), (0.2, 99.8)))
    if not high > low:
        low, high = low - 1, low + 1
    numbers = max(map(measure_text, format_ticks(choose_ticks(Scale(low=low, high=high, start=0, end=200), width=FONT))))
    words, margin = 3.2 * FONT, numbers + 10
    pitch = (WIDTH - words) / len(STATES)
    side = min(250.0, pitch - margin - FONT)
    bottom = top + side
    parts = [
        draw_turned(FONT, (top + bottom) / 2, elide(residual.second, 22)),
        draw_turned(2.3 * FONT, (top + bottom) / 2, "(source units)"),
    ]
    for position, (state, pair) in enumerate(zip(STATES, pixels, strict=True)):
        left = words + position * pitch + margin
        across = Scale(low=low, high=high, start=left, end=left + side)
        upwards = Scale(low=low, high=high, start=bottom, end=top)
        parts += [
            draw_title(left, top - 0.6 * FONT, f"{band}, {_STATE_NAMES[state]}"),
            *draw_columns(across, top, bottom, f"{elide(residual.first, 22)} (source units)"),
            *draw_rows(upwards, left, left + side),
            draw_image(left, top, side, side, _render_density(pair, (low, high)), "image/png", smooth=False),
            draw_path(
                f"M{format_length(left)} {format_length(bottom)}L{format_length(left + side)} {format_length(top)}",
                stroke=INK,
                stroke_width=1.2,
                stroke_dasharray="5 4",
            ),
        ]
    return parts, bottom


def _render_density(pair: tuple[NDArray[np.float64], NDArray[np.float64]], limits: tuple[float, float]) -> bytes:
    """Counts of the samples as PNG: darker where there are more, by the logarithm, and transparent where there are none."""
    edges = np.linspace(*limits, _BINS + 1)
    count, _, _ = np.histogram2d(pair[0], pair[1], (edges, edges))
    share = np.log(np.maximum(count, 1)) / np.log(max(2.0, float(count.max())))
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in _VIRIDIS[::-1]], np.float64)
    places = np.linspace(0, 1, len(anchors))
    bands = [np.interp(share, places, anchors[:, channel]) for channel in range(3)]
    rgba = np.rint(np.stack([*bands, 255.0 * (count > 0)], axis=-1)).astype(np.uint8)
    return encode(Image.fromarray(np.ascontiguousarray(rgba.transpose(1, 0, 2)[::-1])), "PNG", compress_level=6)
