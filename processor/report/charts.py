"""Charts of the figures: residuals of the overlaps, gains and offsets, agreement of pairs pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from processor.model import Adjustment, Band, LocalCorrection, Overlap
from processor.report.figures import STATES, OverlapResidual, State, compute_states, pool
from processor.report.pictures import INK, MUTED, PALETTE, Picture, elide, encode_png, make_figure, plain_style

__all__ = ["draw_adjustments", "draw_agreement", "draw_residuals"]

_STATE_NAMES: Final[dict[State, str]] = {"before": "before", "global": "after global", "local": "after local"}
_STATE_COLOURS: Final[dict[State, str]] = {"before": "#B5BDC5", "global": "#E69F00", "local": "#0072B2"}
_BAND_COLOURS: Final = {"red": "#D55E00", "green": "#009E73", "blue": "#0072B2", "nir": "#CC79A7"}
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_MOST_PAIRS: Final = 40
_WORST_PAIRS: Final = 15
_MOST_SCENES: Final = 40
_FONT_PIXELS: Final = 0.23  # inches a line
_BINS: Final = 64


def draw_residuals(residuals: Sequence[OverlapResidual]) -> Picture | None:
    """RMS difference and bias of each overlap before and after each stage, worst first; None without overlaps.

    Up to 40 pairs get their own bars; of more, the distribution is shown and the 15 worst.
    """
    if not residuals:
        return None
    ordered = sorted(residuals, key=_badness, reverse=True)
    with plain_style():
        if len(ordered) <= _MOST_PAIRS:
            figure = make_figure(1.2 + len(ordered) * 0.36)
            axes = figure.subplots(1, 2, sharey=True, squeeze=False)
            _draw_bars(axes[0], ordered)
        else:
            shown = ordered[:_WORST_PAIRS]
            figure = make_figure(3.8 + len(shown) * 0.36)
            upper, lower = figure.subfigures(2, 1, height_ratios=[2.4, 1.2 + len(shown) * 0.36], squeeze=False)[:, 0]
            _draw_distribution(upper.subplots(1, 2, squeeze=False)[0], residuals)
            axes = lower.subplots(1, 2, sharey=True, squeeze=False)
            _draw_bars(axes[0], shown)
            axes[0][0].set_title(f"The {len(shown)} worst of {len(residuals):,} overlaps")
        handles = [Patch(color=_STATE_COLOURS[state], label=_STATE_NAMES[state]) for state in STATES]
        figure.legend(handles=handles, loc="outside upper right", ncols=3)
        return encode_png(figure, "residuals", f"Differences in {len(residuals)} overlaps before and after matching.")


def _badness(residual: OverlapResidual) -> tuple[float, float]:
    after, before = pool(residual.after_local.rms), pool(residual.before.rms)
    return (-1.0 if np.isnan(after) else after, -1.0 if np.isnan(before) else before)


def _values(residuals: Sequence[OverlapResidual], position: int) -> tuple[list[float], list[float]]:
    """RMS difference and size of the bias of each pair in a state, quadratic means over the bands."""
    states = [residual.states[position] for residual in residuals]
    return [pool(state.rms) for state in states], [pool(state.bias) for state in states]


def _draw_bars(axes: NDArray[np.object_], residuals: Sequence[OverlapResidual]) -> None:
    rows = np.arange(len(residuals))
    for position, state in enumerate(STATES):
        for panel, values in zip(axes, _values(residuals, position), strict=True):
            known = np.nan_to_num(np.array(values))
            panel.barh(rows + (position - 1) * 0.26, known, height=0.26, color=_STATE_COLOURS[state])
    labels = [f"{elide(r.first, 20)} - {elide(r.second, 20)}" for r in residuals]
    axes[0].set_yticks(rows, labels)
    axes[0].set_ylim(len(residuals) - 0.4, -0.6)
    for panel, name in zip(axes, ("RMS difference", "Size of the mean difference (bias)"), strict=True):
        panel.set_xlabel(f"{name} (source units)")
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)


def _draw_distribution(axes: NDArray[np.object_], residuals: Sequence[OverlapResidual]) -> None:
    columns = [_values(residuals, position) for position in range(len(STATES))]
    for side, (panel, name) in enumerate(zip(axes, ("RMS difference", "Size of the mean difference (bias)"), strict=True)):
        known = [np.array(column[side])[np.isfinite(column[side])] for column in columns]
        top = max((float(values.max()) for values in known if values.size), default=1.0) or 1.0
        edges = np.linspace(0, top, 41)
        for values, state in zip(known, STATES, strict=True):
            count, _ = np.histogram(values, edges)
            panel.stairs(count, edges, color=_STATE_COLOURS[state], linewidth=1.8, fill=False)
        panel.set_xlim(0, top)
        panel.set_xlabel(f"{name} (source units)")
        panel.set_ylabel("Overlaps")


def _band_names(bands: Sequence[Band]) -> list[str]:
    return [elide(band.common_name or band.name, 16) for band in bands]


def _band_colours(bands: Sequence[Band]) -> list[str]:
    common = [band.common_name for band in bands]
    if len(set(common)) == len(common) and all(name in _BAND_COLOURS for name in common):
        return [_BAND_COLOURS[str(name)] for name in common]
    return [PALETTE[position % len(PALETTE)] for position in range(len(bands))]


def draw_adjustments(adjustments: Sequence[Adjustment], bands: Sequence[Band]) -> Picture | None:
    """Gain and offset of each scene and band; of more than 40 scenes, their distribution. None where the stage is off."""
    if not adjustments:
        return None
    with plain_style():
        many = len(adjustments) > _MOST_SCENES
        figure = make_figure(1.4 + (0.55 * len(bands) if many else _FONT_PIXELS * len(adjustments) * 1.15))
        axes = figure.subplots(1, 2, sharey=True, squeeze=False)[0]
        columns = (np.array([a.scale for a in adjustments]), np.array([a.offset for a in adjustments]))
        for panel, values, neutral in zip(axes, columns, (1.0, 0.0), strict=True):
            panel.axvline(neutral, color=MUTED, linewidth=1.2, zorder=1)
            if many:
                _draw_spread(panel, values, bands)
            else:
                _draw_dots(panel, values, bands)
        axes[0].set_xlabel("Gain (1 leaves the contrast as it is)")
        axes[1].set_xlabel("Offset (source units)")
        if many:
            axes[0].set_yticks(np.arange(len(bands)), _band_names(bands))
            axes[0].set_ylim(len(bands) - 0.4, -0.6)
        else:
            axes[0].set_yticks(np.arange(len(adjustments)), [elide(a.scene, 28) for a in adjustments])
            axes[0].set_ylim(len(adjustments) - 0.4, -0.6)
            _legend_bands(figure, bands)
        return encode_png(figure, "adjustments", f"Gains and offsets of {len(adjustments)} scenes in {len(bands)} bands.")


def _legend_bands(figure: Figure, bands: Sequence[Band]) -> None:
    named = zip(_band_names(bands), _band_colours(bands), strict=True)
    handles = [
        Line2D([], [], linestyle="", marker=_marker(i), color=colour, label=name) for i, (name, colour) in enumerate(named)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(8, len(bands)))


def _marker(band: int) -> str:
    """Of another shape once the colours repeat."""
    return _MARKERS[(band + band // len(PALETTE)) % len(_MARKERS)]


def _draw_dots(panel: Axes, values: NDArray[np.float64], bands: Sequence[Band]) -> None:
    rows = np.arange(len(values))
    step = 0.5 / max(1, len(bands))
    for band, colour in enumerate(_band_colours(bands)):
        shift = (band - (len(bands) - 1) / 2) * step
        panel.plot(values[:, band], rows + shift, _marker(band), color=colour, markersize=5, zorder=3)
    panel.grid(visible=False, axis="y")
    for row in rows[::2]:
        panel.axhspan(row - 0.5, row + 0.5, color="#f5f7f8", zorder=0)
    panel.tick_params(axis="y", length=0)


def _draw_spread(panel: Axes, values: NDArray[np.float64], bands: Sequence[Band]) -> None:
    """A box of the quartiles and 5th and 95th percentiles, and every scene as a dot under it."""
    for band, colour in enumerate(_band_colours(bands)):
        column = np.sort(values[:, band])
        low, first, middle, last, high = np.percentile(column, (5, 25, 50, 75, 95))
        scatter = 0.12 + 0.22 * ((np.arange(column.size) * 0.6180339887) % 1.0)  # spread evenly, the same every time
        panel.plot(column, band + scatter, ".", color=colour, markersize=3, alpha=0.5, markeredgewidth=0)
        panel.plot([low, high], [band - 0.12, band - 0.12], color=colour, linewidth=1.4)
        panel.barh(band - 0.12, last - first, left=first, height=0.26, color=colour)
        panel.plot([middle, middle], [band - 0.25, band + 0.01], color="white", linewidth=2)
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)


def draw_agreement(
    overlaps: Sequence[Overlap],
    residuals: Sequence[OverlapResidual],
    adjustments: Sequence[Adjustment],
    corrections: Sequence[LocalCorrection],
    bands: Sequence[Band],
    *,
    pairs: int = 2,
) -> Picture | None:
    """Values of one scene against the other's in the worst overlaps, state by state; None where there are no samples.

    Parameters
    ----------
    overlaps, residuals, adjustments, corrections
        Of the run; residuals of these overlaps.
    bands
        Of the scenes; the band with the greatest final difference is shown.
    pairs
        How many overlaps, worst first.
    """
    sampled = sorted((r for r in residuals if r.samples), key=_badness, reverse=True)[:pairs]
    if not sampled:
        return None
    by_pair = {(overlap.first, overlap.second): overlap for overlap in overlaps}
    adjusted = {adjustment.scene: adjustment for adjustment in adjustments}
    corrected = {correction.scene: correction for correction in corrections}
    with plain_style():
        figure = make_figure(0.4 + 2.7 * len(sampled))
        axes = figure.subplots(len(sampled), len(STATES), squeeze=False)
        for row, residual in zip(axes, sampled, strict=True):
            states = compute_states(by_pair[residual.first, residual.second], adjusted, corrected) or ()
            band = int(np.argmax(np.nan_to_num(residual.after_local.rms)))
            pixels = [(first[band], second[band]) for first, second in states]
            low, high = np.percentile(np.concatenate([np.concatenate(pair) for pair in pixels]), (0.2, 99.8))
            limits = (float(low), float(high)) if high > low else (float(low) - 1, float(low) + 1)
            for panel, state, pair in zip(row, STATES, pixels, strict=True):
                _draw_density(panel, pair, limits)
                panel.set_title(f"{_band_names(bands)[band]}, {_STATE_NAMES[state]}")
                panel.set_xlabel(f"{elide(residual.first, 26)} (source units)")
            row[0].set_ylabel(f"{elide(residual.second, 26)}\n(source units)")
        return encode_png(
            figure, "agreement", f"Values of both scenes against each other in the {len(sampled)} worst overlaps."
        )


def _draw_density(panel: Axes, pair: tuple[NDArray[np.float64], NDArray[np.float64]], limits: tuple[float, float]) -> None:
    edges = np.linspace(*limits, _BINS + 1)
    count, _, _ = np.histogram2d(pair[0], pair[1], (edges, edges))
    top = max(2.0, float(count.max()))
    density = np.where(count > 0, count, np.nan).T
    norm = LogNorm(1, top)
    panel.imshow(
        density, cmap="viridis_r", norm=norm, extent=(*limits, *limits), origin="lower", interpolation="nearest", zorder=2
    )
    panel.plot(limits, limits, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=3)
    panel.set_xlim(limits)
    panel.set_ylim(limits)
    panel.set_aspect("equal")
    panel.locator_params(nbins=5)
