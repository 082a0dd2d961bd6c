"""Charts of the figures: residuals of the overlaps, gains and offsets, agreement of pairs pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from processor.model import Adjustment, Band, Overlap
from processor.model.colours import PALETTE
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
    BLACK,
    FONT,
    MUTED,
    PANEL,
    Picture,
    assemble,
    assemble_strip,
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
_MARGIN: Final = 8  # pixels at the left of a panel, for half of its first number
_SIDE: Final = 16  # pixels at its right, for half of its last one
_LEGEND: Final = 20  # pixels of a row
_MOST_ENTRIES: Final = 12
_FOOT: Final = 44  # pixels below a panel, for numbers and words
_LABEL: Final = 18  # pixels of a row's name above its marks
_BAR: Final = 7
_PAIR: Final = 46  # pixels a pair has
_SCENE: Final = 34
_BAND: Final = 66
_DISTRIBUTION: Final = 190
_AGREEMENT: Final = 340  # pixels a panel is wide
_WORDS: Final = ("RMS difference (source units)", "Size of the mean difference (source units)")


def draw_residuals(residuals: Sequence[OverlapResidual]) -> Picture | None:
    """RMS difference and bias of each overlap before and after each stage, worst first; None without overlaps.

    Up to 40 pairs get their own bars; of more, the distribution is shown and the 15 worst.
    """
    if not residuals:
        return None
    alt = f"Differences in {len(residuals)} overlaps before and after matching."
    return assemble_strip("residuals", alt, [_draw_residuals(residuals, side) for side in range(2)])


def _draw_residuals(residuals: Sequence[OverlapResidual], side: int) -> Picture:
    """The panel of the RMS differences (side 0) or of the biases (1)."""
    shown = sorted(residuals, key=_badness, reverse=True)
    parts, top = _draw_legend([_STATE_NAMES[state] for state in STATES], [_STATE_COLOURS[state] for state in STATES])
    if len(shown) > _MOST_PAIRS:
        parts += _draw_distribution(residuals, side, top, top + _DISTRIBUTION)
        shown, top = shown[:_WORST_PAIRS], top + _DISTRIBUTION + _FOOT + 2.5 * FONT
        parts.append(draw_title(0, top - FONT, f"The {len(shown)} worst of {len(residuals):,} overlaps"))
    bottom = top + _PAIR * len(shown)
    parts += _draw_bars(shown, side, (_MARGIN, PANEL - _SIDE), (top, bottom))
    parts += _draw_labels([f"{elide(r.first, 20)} - {elide(r.second, 20)}" for r in shown], top, _PAIR)
    return assemble("residuals", _WORDS[side], bottom + _FOOT, parts, width=PANEL)


def _badness(residual: OverlapResidual) -> tuple[float, float]:
    after, before = pool(residual.after_local.rms), pool(residual.before.rms)
    return (-1.0 if np.isnan(after) else after, -1.0 if np.isnan(before) else before)


def _values(residuals: Sequence[OverlapResidual], position: int, side: int) -> NDArray[np.float64]:
    """RMS difference (side 0) or size of the bias (1) of each pair in a state, quadratic means over the bands."""
    states = [residual.states[position] for residual in residuals]
    return np.array([pool(state.bias if side else state.rms) for state in states])


def _draw_legend(names: Sequence[str], colours: Sequence[str], shapes: Sequence[str] = ()) -> tuple[list[str], float]:
    """What the colours are, in rows above a panel, and where these end; of many, the first twelve."""
    x, y, parts = 0.0, 0.0, []
    for position, (name, colour) in enumerate(zip(names[:_MOST_ENTRIES], colours, strict=False)):
        width = measure_text(name) + 34
        if x and x + width > PANEL:
            x, y = 0.0, y + _LEGEND
        if shapes:
            mark = f"M{format_length(x + 10)} {format_length(y + 12)}{shapes[position]}"
        else:
            mark = f"M{format_length(x)} {format_length(y + 7)}h18v10h-18z"
        parts += [draw_path(mark, fill=colour), draw_text(x + 24, y + 16.5, name)]
        x += width
    return parts, y + 1.6 * _LEGEND


def _draw_labels(labels: Sequence[str], top: float, pitch: float) -> list[str]:
    """Names of the rows, each above its marks."""
    return [draw_text(_MARGIN + 4, top + pitch * row + _LABEL - 5, label) for row, label in enumerate(labels)]


def _draw_bars(
    residuals: Sequence[OverlapResidual], side: int, across: tuple[float, float], down: tuple[float, float]
) -> Iterator[str]:
    columns = [np.nan_to_num(_values(residuals, position, side)) for position in range(len(STATES))]
    scale = fit_scale(columns, *across, zero=True)
    yield from draw_columns(scale, *down, _WORDS[side])
    for position, (state, values) in enumerate(zip(STATES, columns, strict=True)):
        tops = down[0] + _PAIR * np.arange(len(residuals)) + _LABEL + _BAR * position
        bars = zip(tops, scale.place(values) - across[0], strict=True)
        start, height = format_length(across[0]), _BAR
        data = "".join(
            f"M{start} {format_length(y)}h{format_length(width)}v{height}H{start}z" for y, width in bars if width >= 0.05
        )
        yield draw_path(data, fill=_STATE_COLOURS[state])
    yield draw_path(f"M{format_length(across[0])} {format_length(down[0])}V{format_length(down[1])}", stroke=EDGE)


def _draw_distribution(residuals: Sequence[OverlapResidual], side: int, top: float, bottom: float) -> Iterator[str]:
    values = [_values(residuals, position, side) for position in range(len(STATES))]
    known = [column[np.isfinite(column)] for column in values]
    most = max((float(column.max()) for column in known if column.size), default=1.0) or 1.0
    counts = [np.histogram(column, 40, (0.0, most))[0] for column in known]
    upwards = fit_scale([int(count.max()) for count in counts], bottom, top, zero=True)
    left = 2 * FONT + max(map(measure_text, format_ticks(choose_ticks(upwards, width=FONT))), default=0.0)
    across = Scale(low=0.0, high=most, start=left, end=PANEL - _SIDE)
    yield from draw_columns(across, top, bottom, _WORDS[side])
    yield from draw_rows(upwards, across.start, across.end)
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
    columns = (np.array([a.scale for a in adjustments]), np.array([a.offset for a in adjustments]))
    words = ("Gain (1 leaves the contrast as it is)", "Offset (source units)")
    names = [adjustment.scene for adjustment in adjustments]
    panels = [
        _draw_column(values, names, bands, neutral, label)
        for values, neutral, label in zip(columns, (1.0, 0.0), words, strict=True)
    ]
    alt = f"Gains and offsets of {len(adjustments)} scenes in {len(bands)} bands."
    return assemble_strip("adjustments", alt, panels)


def _draw_column(
    values: NDArray[np.float64], names: Sequence[str], bands: Sequence[Band], neutral: float, words: str
) -> Picture:
    """The panel of the gains or of the offsets, (scenes, bands), with a line where they change nothing."""
    many = len(names) > _MOST_SCENES
    labels = _band_names(bands) if many else [elide(name, 28) for name in names]
    pitch = _BAND if many else _SCENE
    shapes = [_marker(band) for band in range(len(bands))]
    parts, top = ([], 8.0) if many else _draw_legend(_band_names(bands), _band_colours(bands), shapes)
    bottom = top + pitch * len(labels)
    scale = fit_scale(np.append(values, neutral), _MARGIN, PANEL - _SIDE)
    x = format_length(float(scale.place(neutral)))
    if not many:  # every other row has a background
        for row in range(0, len(labels), 2):
            parts.append(draw_rectangle(_MARGIN, top + _SCENE * row, scale.end - scale.start, _SCENE, fill="var(--stripe)"))
    parts += draw_columns(scale, top, bottom, words)
    parts.append(draw_path(f"M{x} {format_length(top)}V{format_length(bottom)}", stroke=MUTED, stroke_width=1.4))
    parts += (_draw_spread if many else _draw_dots)(scale, values, bands, top)
    parts += _draw_labels(labels, top, pitch)
    return assemble("adjustments", words, bottom + _FOOT, parts, width=PANEL)


def _marker(band: int) -> str:
    """Of another shape once the colours repeat."""
    return _MARKERS[(band + band // len(PALETTE)) % len(_MARKERS)]


def _draw_dots(scale: Scale, values: NDArray[np.float64], bands: Sequence[Band], top: float) -> Iterator[str]:
    """A mark for each scene and band."""
    rows = np.arange(len(values)) + 0.73
    step = 0.4 / max(1, len(bands))
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
        y = top + _BAND * (band + 0.46)
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
    panels: list[Picture] = []
    for residual in sampled:
        states = compute_states(by_pair[residual.first, residual.second], adjusted, corrected) or ()
        band = int(np.argmax(np.nan_to_num(residual.after_local.rms)))
        pixels = [(first[band], second[band]) for first, second in states]
        panels += _draw_pair(residual, pixels, _band_names(bands)[band])
    alt = f"Values of both scenes against each other in the {len(sampled)} worst overlaps."
    return assemble_strip("agreement", alt, panels)


def _draw_pair(
    residual: OverlapResidual, pixels: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], band: str
) -> Iterator[Picture]:
    """The panels of a pair of scenes, one a state."""
    low, high = map(float, np.percentile(np.concatenate([np.concatenate(pair) for pair in pixels]), (0.2, 99.8)))
    if not high > low:
        low, high = low - 1, low + 1
    numbers = max(map(measure_text, format_ticks(choose_ticks(Scale(low=low, high=high, start=0, end=200), width=FONT))))
    left, top = 2.0 * FONT + numbers + 10, 2.0 * FONT
    side = _AGREEMENT - left - _SIDE
    bottom = top + side
    for state, pair in zip(STATES, pixels, strict=True):
        across = Scale(low=low, high=high, start=left, end=left + side)
        upwards = Scale(low=low, high=high, start=bottom, end=top)
        title = f"{band}, {_STATE_NAMES[state]}"
        parts = [
            draw_rectangle(left, top, side, side, fill="white"),
            draw_title(left, top - 0.6 * FONT, title),
            draw_turned(FONT, (top + bottom) / 2, elide(residual.second, 18)),
            *draw_columns(across, top, bottom, elide(residual.first, 18), grid=False),
            *draw_rows(upwards, left, left + side, grid=False),
            draw_image(left, top, side, side, _render_density(pair, (low, high)), "image/png", smooth=False),
            draw_path(
                f"M{format_length(left)} {format_length(bottom)}L{format_length(left + side)} {format_length(top)}",
                stroke=BLACK,
                stroke_width=1.2,
                stroke_dasharray="5 4",
            ),
        ]
        yield assemble("agreement", title, bottom + _FOOT, parts, width=_AGREEMENT)


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
