"""The sparse solve against a dense, minimum-norm one, and against scenes whose gains are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from processor.model import Adjustment, Moments, Overlap
from processor.stages.matching.global_regression import (
    apply_adjustment,
    compute_contrast,
    identity_adjustment,
    solve_adjustments,
)

Stats = tuple[float, float]  # mean and standard deviation


def moments(*bands: Stats, count: int = 100) -> Moments:
    mean, std = (np.array(column) for column in zip(*bands, strict=True))
    return Moments(count=count, mean=mean, m2=std**2 * count, minimum=mean - 2 * std, maximum=mean + 2 * std)


def overlap(first: str, second: str, one: Stats, other: Stats, *, count: int = 100) -> Overlap:
    return Overlap(
        first=first, second=second, first_moments=moments(one, count=count), second_moments=moments(other, count=count)
    )


def solve_dense(
    whole: Mapping[str, Moments],
    overlaps: Sequence[Overlap],
    *,
    mean_factor: float = 1.0,
    std_factor: float = 1.0,
    model: Collection[str] | None = None,
) -> dict[str, Stats]:
    """Scale and offset of the only band, as the specification has it: every row written out, solved by SVD."""
    names = sorted(whole)
    members = set(names if model is None else model)
    used = [o for o in overlaps if o.first_moments.count and ({o.first, o.second} & members)]
    weight = len(used) / (2 * len(names)) if used else 1.0
    rows: list[NDArray[np.float64]] = []
    right: list[float] = []

    def add(entries: dict[int, float], value: float) -> None:
        row = np.zeros(2 * len(names))
        for column, entry in entries.items():
            row[column] = entry
        rows.append(row)
        right.append(value)

    for o in used:
        i, j = 2 * names.index(o.first), 2 * names.index(o.second)
        m, n = float(o.first_moments.mean[0]), float(o.second_moments.mean[0])
        s, t = float(o.first_moments.std[0]), float(o.second_moments.std[0])
        f, h = mean_factor, std_factor
        add({i: f * m, i + 1: f, j: -f * n, j + 1: -f}, 0.0)
        add({i: h * s, j: -h * t}, 0.0)
    for name in names:
        if name in members and whole[name].count:
            i, mean, std = 2 * names.index(name), float(whole[name].mean[0]), float(whole[name].std[0])
            add({i: weight * mean, i + 1: weight}, weight * mean)
            add({i: weight * std}, weight * std)
    identity = np.tile([1.0, 0.0], len(names))
    if not rows:
        solution = identity
    else:
        matrix = np.array(rows)
        departure, *_ = np.linalg.lstsq(matrix, np.array(right) - matrix @ identity, rcond=1e-11)
        solution = identity + departure
    return {name: (float(solution[2 * i]), float(solution[2 * i + 1])) for i, name in enumerate(names)}


def assert_solves_like_dense(
    whole: Mapping[str, Moments],
    overlaps: Sequence[Overlap],
    *,
    mean_factor: float = 1.0,
    std_factor: float = 1.0,
    model: Collection[str] | None = None,
    tolerance: float = 1e-9,
) -> dict[str, Stats]:
    """Compare on the scale of the data: the offset and the scale's effect, both against the largest mean."""
    solved = solve_adjustments(whole, overlaps, mean_factor=mean_factor, std_factor=std_factor, model=model)
    dense = solve_dense(whole, overlaps, mean_factor=mean_factor, std_factor=std_factor, model=model)
    assert [a.scene for a in solved] == sorted(whole)
    size = max(float(np.abs(m.mean).max()) for m in whole.values() if m.count)
    for adjustment in solved:
        scale, offset = dense[adjustment.scene]
        assert adjustment.scale[0] == pytest.approx(scale, abs=tolerance), adjustment.scene
        assert adjustment.offset[0] == pytest.approx(offset, abs=tolerance * max(size, 1.0)), adjustment.scene
    return {a.scene: (float(a.scale[0]), float(a.offset[0])) for a in solved}


def lattice(
    side: int, *, level: float = 900.0, contrast: float = 0.3, seed: int = 0
) -> tuple[dict[str, Moments], list[Overlap]]:
    """Scenes on a lattice, each overlapping its neighbours to the right, below and across."""
    rng = np.random.default_rng(seed)

    def draw() -> Stats:
        return float(level * rng.uniform(0.8, 1.2)), float(level * contrast * rng.uniform(0.7, 1.4))

    names = {(row, col): f"scene_{row:03d}_{col:03d}" for row in range(side) for col in range(side)}
    whole = {name: moments(draw()) for name in names.values()}
    overlaps = [
        overlap(name, names[row + down, col + across], draw(), draw())
        for (row, col), name in names.items()
        for down, across in ((0, 1), (1, 0), (1, 1))
        if (row + down, col + across) in names
    ]
    return whole, overlaps


def test_two_scenes_by_hand() -> None:
    """Flat statistics: with M = m and S = s the two scenes meet at weighted means that can be worked out on paper.

    One overlap of two scenes: w = 1/4. The spread rows alone give a1 s1 = a2 s2 = ... by symmetry of the problem:
    minimise (p - q)² + w² ((p - s1)² + (q - s2)²) for p = a1 s1, q = a2 s2, so p = s1 + d, q = s2 - d with
    d = (s2 - s1) / (2 + w²). The level t = a m + b solves the same problem for m.
    """
    one, other = (100.0, 10.0), (130.0, 20.0)
    solved = solve_adjustments({"a": moments(one), "b": moments(other)}, [overlap("a", "b", one, other)])
    shift = 1 / (2 + (1 / 4) ** 2)
    for adjustment, (mean, std), sign in zip(solved, (one, other), (1, -1), strict=True):
        scale = (std + sign * shift * 10) / std
        level = mean + sign * shift * 30
        assert adjustment.scale[0] == pytest.approx(scale, rel=1e-13)
        assert adjustment.offset[0] == pytest.approx(level - scale * mean, rel=1e-12)


@pytest.mark.parametrize("contrast", [0.3, 0.03, 0.003])
@pytest.mark.parametrize("level", [0.05, 900.0, 40_000.0])
def test_lattice_of_scenes_equals_the_dense_solution(level: float, contrast: float) -> None:
    assert_solves_like_dense(*lattice(4, level=level, contrast=contrast), tolerance=1e-8)


@pytest.mark.parametrize(("mean_factor", "std_factor"), [(1, 1), (2.5, 0.5), (0, 1), (1, 0), (0, 0), (1e-3, 1e3)])
def test_factors_weigh_the_rows_of_the_overlaps(mean_factor: float, std_factor: float) -> None:
    assert_solves_like_dense(*lattice(3), mean_factor=mean_factor, std_factor=std_factor)


@pytest.mark.parametrize(("mean_factor", "std_factor"), [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_scenes_outside_the_model_are_fitted_to_it_whatever_the_factors(mean_factor: float, std_factor: float) -> None:
    whole, overlaps = lattice(3)
    model = [name for name in whole if name.endswith("001")]
    assert_solves_like_dense(whole, overlaps, mean_factor=mean_factor, std_factor=std_factor, model=model)


def test_a_single_scene_keeps_its_values() -> None:
    (adjustment,) = solve_adjustments({"a": moments((100.0, 10.0), (7.0, 1.0))}, [])
    np.testing.assert_allclose(adjustment.scale, 1, rtol=1e-15)
    np.testing.assert_allclose(adjustment.offset, 0, atol=1e-12)


def test_no_scenes_give_no_adjustments() -> None:
    assert solve_adjustments({}, []) == ()


def test_identical_scenes_give_exactly_the_identity() -> None:
    stats = moments((731.25, 88.0), (55.5, 3.0))
    names = ["a", "b", "c", "d"]
    overlaps = [Overlap(first=i, second=j, first_moments=stats, second_moments=stats) for i in names for j in names if i < j]
    for adjustment in solve_adjustments(dict.fromkeys(names, stats), overlaps):
        np.testing.assert_array_equal(adjustment.scale, 1)
        np.testing.assert_array_equal(adjustment.offset, 0)


def test_known_gains_are_undone_when_one_scene_is_the_model() -> None:
    """The same ground seen through known gains and offsets: scenes fitted to a reference come out as the reference saw them."""
    rng = np.random.default_rng(3)
    gain, offset = rng.uniform(0.6, 1.6, 6), rng.uniform(-90, 90, 6)
    names = [f"s{i}" for i in range(6)]

    def seen(scene: int, mean: float, std: float) -> Stats:
        return float(gain[scene] * mean + offset[scene]), float(gain[scene] * std)

    whole = {name: moments(seen(i, 800 + 40 * i, 120 + 5 * i)) for i, name in enumerate(names)}
    overlaps = [overlap("s0", names[j], seen(0, 780 + j, 100 + j), seen(j, 780 + j, 100 + j)) for j in range(1, 6)]
    overlaps.append(overlap("s3", "s4", seen(3, 700, 90), seen(4, 700, 90)))  # neither is in the model: not used
    solved = solve_adjustments(whole, overlaps, model=["s0"])
    for i, adjustment in enumerate(solved):
        scale = gain[0] / gain[i]
        assert adjustment.scale[0] == pytest.approx(scale, rel=1e-10)
        assert adjustment.offset[0] == pytest.approx(offset[0] - scale * offset[i], abs=1e-7)


def test_a_reference_among_thousands_of_scenes_is_still_matched() -> None:
    """The weight of the anchors falls with the number of scenes; the fit must not fade with it."""
    count = 5000
    whole = {f"s{i:04d}": moments((1000.0 + i % 7, 60.0 + i % 5)) for i in range(count)}
    near = [overlap("s0000", f"s{j:04d}", (1000.0, 60.0), (900.0 + 10 * j, 30.0 + 4 * j)) for j in range(1, 5)]
    far = [overlap(f"s{j:04d}", f"s{j + 1:04d}", (1000.0, 60.0), (700.0, 80.0)) for j in range(10, count - 1)]
    solved = {a.scene: a for a in solve_adjustments(whole, near + far, model=["s0000"])}
    assert solved["s0000"].scale[0] == pytest.approx(1, abs=1e-9)
    for j in range(1, 5):
        scale = 60.0 / (30 + 4 * j)
        assert solved[f"s{j:04d}"].scale[0] == pytest.approx(scale, rel=1e-9)
        assert solved[f"s{j:04d}"].offset[0] == pytest.approx(1000 - scale * (900 + 10 * j), abs=1e-5)
    assert solved["s4000"].scale[0] == 1
    assert solved["s4000"].offset[0] == 0


def test_undetermined_scenes_keep_their_values_exactly() -> None:
    """A scene without overlaps outside the model, and one that only meets other scenes outside it."""
    whole = {name: moments((500.0 + 10 * i, 50.0)) for i, name in enumerate("abcdx")}
    overlaps = [
        overlap("a", "b", (510, 40), (480, 50)),
        overlap("b", "c", (505, 45), (530, 30)),
        overlap("c", "d", (500, 40), (600, 60)),
    ]
    solved = assert_solves_like_dense(whole, overlaps, model=["a", "b"])
    assert solved["d"] == (1.0, 0.0)
    assert solved["x"] == (1.0, 0.0)
    assert solved["c"] != (1.0, 0.0)


def test_an_isolated_scene_of_the_model_keeps_its_values() -> None:
    whole = {"a": moments((500, 50)), "b": moments((600, 40)), "lonely": moments((90, 4))}
    solved = assert_solves_like_dense(whole, [overlap("a", "b", (510, 45), (580, 44))])
    assert solved["lonely"] == pytest.approx((1.0, 0.0), abs=1e-12)


def test_components_that_do_not_touch_do_not_pull_on_each_other() -> None:
    """But for w, which counts all overlaps and scenes: so the two halves are equal ones."""
    left, right = lattice(2, seed=1), lattice(2, seed=2)
    renamed = {f"z_{name}": m for name, m in right[0].items()}
    pairs = [
        Overlap(first=f"z_{o.first}", second=f"z_{o.second}", first_moments=o.first_moments, second_moments=o.second_moments)
        for o in right[1]
    ]
    together = {a.scene: a for a in solve_adjustments({**left[0], **renamed}, [*left[1], *pairs])}
    for alone in (*solve_adjustments(*left), *solve_adjustments(renamed, pairs)):
        np.testing.assert_allclose(together[alone.scene].scale, alone.scale, atol=1e-11)
        np.testing.assert_allclose(together[alone.scene].offset, alone.offset, atol=1e-8)


@pytest.mark.parametrize("level", [0.0, 0.2, 250.0, 60_000.0])
@pytest.mark.parametrize("model", [None, ["a", "b"], ["flat"]])
def test_a_constant_scene_departs_as_little_as_possible(model: list[str] | None, level: float) -> None:
    """Its mean fixes one direction; along (1, -mean) nothing does, and the solution there is that of least norm."""
    whole = {"a": moments((500, 50)), "b": moments((600, 40)), "flat": moments((level, 0))}
    overlaps = [overlap("a", "b", (510, 45), (580, 44)), overlap("a", "flat", (520, 0), (level, 0))]
    solved = solve_adjustments(whole, overlaps, model=model)
    dense = solve_dense(whole, overlaps, model=model)
    means: list[float] = [500, 600, level]
    for adjustment, mean in zip(solved, means, strict=True):
        scale, offset = dense[adjustment.scene]
        assert adjustment.scale[0] == pytest.approx(scale, abs=1e-8)
        assert adjustment.scale[0] * mean + adjustment.offset[0] == pytest.approx(scale * mean + offset, rel=1e-8, abs=1e-6)
    flat = solved[-1]
    departure = np.array([flat.scale[0] - 1, flat.offset[0]])
    free = np.array([1, -level]) / np.hypot(1, level)
    assert abs(departure @ free) <= 1e-9 * (1e-3 + float(np.linalg.norm(departure)))


def test_constant_scenes_alone_meet_between_their_levels() -> None:
    whole = {"a": moments((100, 0)), "b": moments((130, 0))}
    overlaps = [overlap("a", "b", (100, 0), (130, 0))]
    solved = assert_solves_like_dense(whole, overlaps)
    shift = 30 / (2 + (1 / 4) ** 2)
    assert solved["a"][0] * 100 + solved["a"][1] == pytest.approx(100 + shift, rel=1e-12)
    assert solved["b"][0] * 130 + solved["b"][1] == pytest.approx(130 - shift, rel=1e-12)


def test_an_all_zero_scene_changes_by_its_offset_only() -> None:
    whole = {"a": moments((0, 0)), "b": moments((10, 2))}
    solved = assert_solves_like_dense(whole, [overlap("a", "b", (0, 0), (10, 2))])
    assert solved["a"][0] == 1.0
    assert solved["a"][1] > 1


def test_a_scene_without_valid_pixels_is_left_alone() -> None:
    empty = Moments(count=0, mean=np.array([np.nan]), m2=np.zeros(1), minimum=np.array([np.inf]), maximum=np.array([-np.inf]))
    whole = {"a": moments((500, 50)), "b": moments((600, 40)), "empty": empty}
    solved = assert_solves_like_dense(whole, [overlap("a", "b", (510, 45), (580, 44))])
    assert solved["empty"] == (1.0, 0.0)


def test_statistics_that_contradict_each_other_still_give_finite_adjustments() -> None:
    """No scene is constant as a whole and yet of two levels; a file of statistics may say so."""
    whole = {"a": moments((100, 0)), "b": moments((200, 0))}
    overlaps = [overlap("a", "b", (90, 0), (210, 0))]
    for adjustment in solve_adjustments(whole, overlaps):
        assert np.isfinite(adjustment.scale).all()
        assert np.isfinite(adjustment.offset).all()


def test_pairs_without_common_pixels_count_for_nothing() -> None:
    whole, overlaps = lattice(2)
    nothing = overlap("scene_000_000", "scene_001_000", (1, 1), (1, 1), count=0)
    with_it = solve_adjustments(whole, [*overlaps, nothing])
    for one, other in zip(with_it, solve_adjustments(whole, overlaps), strict=True):
        np.testing.assert_array_equal(one.scale, other.scale)
        np.testing.assert_array_equal(one.offset, other.offset)


def test_order_of_the_input_changes_no_bit() -> None:
    whole, overlaps = lattice(4)
    forward = solve_adjustments(whole, overlaps)
    backward = solve_adjustments(dict(reversed(whole.items())), overlaps[::-1])
    for one, other in zip(forward, backward, strict=True):
        assert one.scene == other.scene
        np.testing.assert_array_equal(one.scale, other.scale)
        np.testing.assert_array_equal(one.offset, other.offset)


def test_bands_are_solved_independently() -> None:
    rng = np.random.default_rng(4)
    stats = [[(float(rng.uniform(300, 900)), float(rng.uniform(20, 90))) for _ in range(3)] for _ in range(4)]
    whole = {"a": moments(*stats[0]), "b": moments(*stats[1])}
    pair = [Overlap(first="a", second="b", first_moments=moments(*stats[2]), second_moments=moments(*stats[3]))]
    together = solve_adjustments(whole, pair)
    for band in range(3):
        alone = solve_adjustments(
            {"a": moments(stats[0][band]), "b": moments(stats[1][band])},
            [overlap("a", "b", stats[2][band], stats[3][band])],
        )
        for one, other in zip(together, alone, strict=True):
            assert one.scale[band] == other.scale[0]
            assert one.offset[band] == other.offset[0]


def test_an_overlap_of_an_unknown_scene_is_an_error() -> None:
    with pytest.raises(KeyError, match="ghost"):
        solve_adjustments({"a": moments((1, 1))}, [overlap("a", "ghost", (1, 1), (1, 1))])


def test_identity_adjustment_changes_nothing() -> None:
    identity = identity_adjustment("a", 3)
    assert identity.scene == "a"
    np.testing.assert_array_equal(identity.scale, [1, 1, 1])
    np.testing.assert_array_equal(identity.offset, [0, 0, 0])


def test_contrast_is_the_mean_scale_over_the_scenes() -> None:
    adjustments = [
        Adjustment(scene=name, scale=np.array(scale), offset=np.zeros(2))
        for name, scale in (("a", [0.8, 1.0]), ("b", [1.0, 1.5]))
    ]
    np.testing.assert_allclose(compute_contrast(adjustments), [0.9, 1.25])


@pytest.mark.parametrize("calculation", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_applied_adjustment_is_within_rounding_of_the_formula(dtype: str, calculation: type[np.floating]) -> None:
    rng = np.random.default_rng(6)
    values = (rng.uniform(0, 250, (7, 9))).astype(dtype)
    scale, offset = 1.2345678, -17.25
    out = np.empty(values.shape, calculation)
    result = apply_adjustment(values, scale, offset, out=out)
    assert result is out
    exact = scale * values.astype(np.longdouble) + offset
    rounding = float(np.finfo(calculation).eps)
    assert np.abs(out - exact).max() <= rounding * 2 * (scale * 250 + abs(offset))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_identity_leaves_every_value_as_it_is(dtype: str) -> None:
    limits: tuple[float, float] = (
        (-3e38, 3e38) if dtype == "float32" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    )
    values = np.linspace(*limits, 257).astype(dtype)
    out = apply_adjustment(values, 1.0, 0.0, out=np.empty(values.shape, np.float32))
    np.testing.assert_array_equal(out, values.astype(np.float32))
    np.testing.assert_array_equal(out.astype(dtype), values)
