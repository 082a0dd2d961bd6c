"""Which dates show the same ground: against clouds that are known, and whatever lies beside, before or after."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Window
from processor.stages.merge import agreeing
from processor.stages.merge.agreeing import choose_observations, count_choosing_bytes
from processor.synthetic.difficulties import make_clouds
from processor.synthetic.terrain import make_noise

EDGE = 96
WHOLE = Window(row=0, col=0, height=EDGE, width=EDGE)


def draw_dates(
    dates: int = 20, *, clouds: float = 0.4, dtype: str = "uint16", seed: int = 0
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Dates of hills and a lake on the left, (dates, 2, EDGE, EDGE), and where they are clear, (dates, EDGE, EDGE)."""
    random = np.random.default_rng(seed)
    ground = np.stack([800 + 300 * make_noise(50 + seed + 7 * band, (60, 24, 9, 4), WHOLE) for band in range(2)]).astype(float)
    ground[:, :, :40] = 400
    stack, clear = [], []
    for date in range(dates):
        opacity = make_clouds(clouds, 100 * seed + date, WHOLE, WHOLE).astype(float) * (clouds > 0)
        bright = 3000 + 300 * make_noise(5000 + 100 * seed + date, (20, 7, 3), WHOLE)
        pixels = ground + 8 * random.normal(size=ground.shape)
        stack.append(pixels + opacity * (bright - pixels))
        clear.append(opacity == 0)
    values = np.array(stack) / (16 if dtype == "uint8" else 1)
    return (values if values.dtype == dtype else np.rint(values)).astype(dtype), np.array(clear)


def choose(stack: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    seen = np.ones((len(stack), *stack.shape[2:]), np.bool_) if valid is None else valid
    return choose_observations(stack, seen, out=np.empty_like(seen))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_clouds_are_left_out_and_clear_ground_is_not(dtype: str) -> None:
    stack, clear = draw_dates(dtype=dtype)
    kept = choose(stack)
    assert kept[clear].mean() > 0.99
    assert kept[~clear].mean() < 0.02  # thin edges


def test_white_is_no_ground_however_many_dates_have_it() -> None:
    stack, _ = draw_dates(9, clouds=0.0)
    stack[:5] = 4000
    kept = choose(stack)
    assert not kept[:5].any()
    assert kept[5:].mean() > 0.99


def test_the_densest_group_wins_over_one_with_more_dates() -> None:
    stack, _ = draw_dates(9, clouds=0.0)
    for date in range(5):
        stack[date] = 3000 + 100 * date + 200 * make_noise(date, (11, 5), WHOLE)
    kept = choose(stack)
    assert not kept[:5].any()
    assert kept[5:].mean() > 0.99


def test_a_cloudy_date_that_is_there_twice_is_no_group() -> None:
    stack, _ = draw_dates(8, clouds=0.0)
    for date in range(4):
        stack[date] = 3000 + 100 * (date // 2) + 200 * make_noise(date // 2, (11, 5), WHOLE)  # two by two
    kept = choose(stack)
    assert not kept[:4].any()
    assert kept[4:].mean() > 0.99


def test_dates_that_differ_a_little_all_count() -> None:
    """Gains within 2 % and pixels that lie beside one another are no clouds."""
    stack, _ = draw_dates(12, clouds=0.0, dtype="float64")
    for date in range(12):
        stack[date] = np.roll(stack[date], date % 2, axis=2) * (1 + 0.02 * np.sin(date))
    assert choose(stack).mean() > 0.98


def test_what_is_masked_does_not_count_and_changes_nothing_else() -> None:
    stack, clear = draw_dates()
    kept = choose(stack, clear)
    assert not kept[~clear].any()
    assert kept[clear].mean() > 0.999
    other = np.where(clear[:, None], stack, np.uint16(65535))
    np.testing.assert_array_equal(choose(other, clear), kept)


@pytest.mark.parametrize("dates", [1, 2])
def test_one_date_and_two_all_count(dates: int) -> None:
    stack, clear = draw_dates(dates)
    np.testing.assert_array_equal(choose(stack, clear), clear)


def test_two_dates_count_whoever_else_is_near() -> None:
    """With scenes that have nothing there it is as without them."""
    stack, _ = draw_dates(2)
    for place in (0, 1, 2):
        more = np.insert(stack, [place] * 3, np.uint16(7), axis=0)
        valid = np.insert(np.ones((2, EDGE, EDGE), np.bool_), [place] * 3, False, axis=0)
        np.testing.assert_array_equal(choose(more, valid), valid)


def test_ground_that_is_constant_counts() -> None:
    assert choose(np.full((6, 2, 40, 40), 17, np.uint8)).all()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_it_does_not_depend_on_the_window_nor_on_absent_scenes(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, clear = draw_dates(12, dtype=dtype)
    valid = clear | (np.random.default_rng(3).random(clear.shape) < 0.7)
    whole = choose(stack, valid)
    monkeypatch.setattr(agreeing, "_TILE_BYTES", 1)
    monkeypatch.setattr(agreeing, "_SUMMED", 1)
    for rows, cols in ((slice(16, 48), slice(32, 96)), (slice(64, 96), slice(0, 16)), (slice(80, 93), slice(48, 90))):
        part = choose(stack[:, :, rows, cols], valid[:, rows, cols])
        inner = whole[:, rows, cols]
        edge = (part.shape[1] // 16 * 16, part.shape[2] // 16 * 16)  # blocks that are whole in both
        np.testing.assert_array_equal(part[:, : edge[0], : edge[1]], inner[:, : edge[0], : edge[1]])
    more = np.insert(stack, [0, 5, 5, *[12] * 60], np.asarray(9, dtype), axis=0)
    seen = np.insert(valid, [0, 5, 5, *[12] * 60], False, axis=0)
    kept = choose(more, seen)
    np.testing.assert_array_equal(kept[seen.any(axis=(1, 2))], whole)


def test_a_mosaic_ends_in_the_middle_of_a_block() -> None:
    stack, clear = draw_dates()
    kept = choose(stack[:, :, :90, :83])
    clear = clear[:, :90, :83]
    assert kept.shape == clear.shape
    assert kept[clear].mean() > 0.99
    assert kept[~clear].mean() < 0.02


def test_of_many_dates_64_are_asked_and_all_are_compared() -> None:
    stack, clear = draw_dates(100)
    kept = choose(stack[:, :, :32, 32:64])
    clear = clear[:, :32, 32:64]
    assert kept[clear].mean() > 0.99
    assert kept[~clear].mean() < 0.02


@pytest.mark.parametrize(("dtype", "factor"), [("float32", 1e34), ("float64", 1e303), ("float64", 1e-300)])
def test_the_largest_and_the_smallest_numbers_break_nothing(dtype: str, factor: float) -> None:
    stack, clear = draw_dates(dtype="float64")
    kept = choose((stack * factor).astype(dtype))
    assert kept.any(axis=0).all()
    assert kept[clear].mean() > 0.99


@pytest.mark.parametrize("dates", [5, 24, 64, 65, 300])
def test_memory_is_bounded(dates: int) -> None:
    random = np.random.default_rng(1)
    stack = random.integers(1, 4000, (dates, 4, 16, 512)).astype(np.uint16)
    valid = random.random((dates, 16, 512)) < 0.9
    tracemalloc.start()
    try:
        choose_observations(stack, valid, out=valid)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < count_choosing_bytes(dates, 4)
