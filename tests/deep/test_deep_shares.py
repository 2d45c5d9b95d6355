"""Class shares that a training holds, and images on random backgrounds."""

import doctest
from importlib import import_module

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from shiftlab.deep.augment import Augmentation, _on_field  # noqa: E402
from shiftlab.deep.class_shares import ClassShares, fill_shares  # noqa: E402
from shiftlab.deep.images import standardise  # noqa: E402


@pytest.mark.parametrize("name", ["class_shares", "adversary"])
def test_examples_run(name):
    assert doctest.testmod(import_module(f"shiftlab.deep.{name}")).failed == 0


def test_filled_shares_are_the_nearest_to_the_prior():
    """Against a general solver of ``min KL(q || prior), q >= taken, sum q = 1``."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    for _ in range(20):
        k = int(rng.integers(2, 8))
        prior = rng.dirichlet(np.full(k, 2.0))
        taken = rng.dirichlet(np.full(k, 1.0)) * rng.uniform(0.2, 0.95)
        found = fill_shares(torch.from_numpy(prior), torch.from_numpy(taken)).numpy()
        assert found.sum() == pytest.approx(1.0)
        assert (found >= taken - 1e-12).all()
        solved = minimize(
            lambda q, prior=prior: (q * np.log(np.maximum(q, 1e-12) / prior)).sum(),
            taken + (1 - taken.sum()) / k,
            bounds=[(low, 1.0) for low in taken],
            constraints={"type": "eq", "fun": lambda q: q.sum() - 1},
            options={"ftol": 1e-12, "maxiter": 500},
        )
        assert np.abs(found - solved.x).max() < 1e-4
    full = fill_shares(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.6]))
    assert full.tolist() == pytest.approx([0.6, 0.4])


def test_shares_start_half_way_between_the_sources_and_equal_ones():
    prior = torch.tensor([0.64, 0.16, 0.16, 0.04])
    logs = (prior.log() + torch.full((4,), 0.25).log()) / 2
    assert torch.allclose(ClassShares(prior, 2.0).wanted, logs.softmax(dim=0))


# The source's shares are as the squares of 0.5, 0.3 and 0.2, so that the first ones are these.
SQUARES = torch.tensor([0.25, 0.09, 0.04])


def test_shares_stay_until_sure_rows_speak_against_them():
    shares = ClassShares(SQUARES, 2.0)
    labels = torch.tensor([0] * 4 + [1] * 4 + [2] * 2)
    shares.count(labels, torch.tensor([True, False] * 5))
    shares.follow()  # 0.2, 0.2 and 0.1 are sure: no more than there are to be
    assert shares.wanted.tolist() == pytest.approx([0.5, 0.3, 0.2])
    for _ in range(2):  # two batches of an epoch
        shares.count(labels, torch.ones(10, dtype=torch.bool))
    shares.follow()  # 0.4, 0.4 and 0.2: the second has at least the mean of 0.3 and 0.4
    second = (0.3 * 0.4) ** 0.5
    by_hand = [1 - second - 0.2, second, 0.2]  # the third is not let below its own 0.2
    assert shares.wanted.tolist() == pytest.approx(by_hand)
    before = shares.wanted.clone()
    shares.follow()  # an epoch without rows says nothing
    assert torch.equal(shares.wanted, before)


def test_wanted_shares_stay_within_the_ratio():
    shares = ClassShares(SQUARES, 1.5)
    shares.count(torch.full((100,), 2), torch.ones(100, dtype=torch.bool))
    shares.follow()
    wanted = shares.wanted.tolist()
    assert wanted[2] == pytest.approx(0.3)
    assert wanted[:2] == pytest.approx([0.7 * 0.5 / 0.8, 0.7 * 0.3 / 0.8])
    shares.count(torch.tensor([0] * 75 + [2] * 25), torch.ones(100, dtype=torch.bool))
    shares.follow()
    # the second is not let below 0.3 / 1.5, and the three are brought to a sum of one
    by_hand = torch.tensor([(0.5 * 0.75) ** 0.5, 0.2, (0.2 * 0.25) ** 0.5])
    assert torch.allclose(shares.wanted, by_hand / by_hand.sum())


def test_predictions_are_aligned_by_the_running_shares():
    torch.manual_seed(0)
    prior = torch.tensor([0.2, 0.3, 0.5])
    shares, seen = ClassShares(prior**2, 2.0), prior.clone()
    for _ in range(5):
        p = torch.rand(8, 3).softmax(dim=1)
        seen = 0.99 * seen + 0.01 * p.mean(dim=0)
        aligned = shares.align(p)
        for row, out in zip(p, aligned, strict=True):
            by_hand = row * prior / seen
            assert torch.allclose(out, by_hand / by_hand.sum(), atol=1e-6)


def test_the_excess_has_the_gradient_of_the_divergence():
    torch.manual_seed(0)
    shares = ClassShares(torch.tensor([0.2, 0.3, 0.5]), 2.0)
    scores = torch.randn(16, 3, requires_grad=True)
    mean = scores.softmax(dim=1).mean(dim=0)
    shares.seen.copy_(mean.detach())
    divergence = (mean * (mean / shares.wanted).log()).sum()
    (wanted,) = torch.autograd.grad(divergence, scores)
    (found,) = torch.autograd.grad(shares.excess(scores), scores)
    assert torch.allclose(found, wanted, atol=1e-7)
    assert found.abs().max() > 1e-3


def test_a_field_shows_an_image_and_its_negative_as_negatives():
    """``b + x (1 - 2 b)`` of x and of 1 - x add up to 1, whatever the field b."""
    x = standardise(torch.randint(0, 256, (6, 3, 20, 20)).float())
    plus, minus = (_on_field(s * x, torch.Generator().manual_seed(0)) for s in (1, -1))
    assert torch.allclose(plus, -minus, atol=1e-4)
    assert plus.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert plus.std(dim=(1, 2, 3)).sub(1).abs().max() < 1e-2
    # An image of one value shows the field alone, which is no longer flat.
    flat = _on_field(torch.zeros(2, 3, 20, 20), torch.Generator().manual_seed(0))
    assert flat.std(dim=(2, 3)).min() > 1e-3


def test_backgrounds_come_with_their_chance_and_change_nothing_where_it_is_zero():
    off = {"rotation": 0, "scale": 0, "shift": 0, "polarity": 0, "contrast": 0, "noise": 0}
    plain = torch.randint(0, 256, (400, 1, 8, 8)).float()
    plain[..., :3] = 0.0
    x = standardise(plain)
    generator = torch.Generator().manual_seed(0)
    same = Augmentation(**off)(x, generator)
    assert torch.equal(same, x)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
    changed = Augmentation(**off, background=0.3)(x, generator)
    share = (changed != x).flatten(1).any(dim=1).float().mean()
    assert 0.22 < share < 0.38
    grounds = standardise(torch.rand(400, 3, 8, 8))
    assert torch.equal(Augmentation(**off, background=1.0)(grounds, generator), grounds)
    with pytest.raises(ValueError, match="background must be between"):
        Augmentation(background=1.5)


def test_a_hole_hides_a_square_and_nothing_else():
    off = {"rotation": 0, "scale": 0, "shift": 0, "polarity": 0, "contrast": 0, "noise": 0}
    x = torch.rand(500, 3, 12, 20) + 1.0  # nowhere zero; not square
    generator = torch.Generator().manual_seed(0)
    out = Augmentation(**off, hole=0.3)(x, generator)
    hidden = out == 0.0
    assert torch.equal(hidden, hidden[:, :1].expand_as(hidden))  # all channels alike
    assert torch.equal(out[~hidden], x[~hidden])
    rows, columns = hidden[:, 0].any(dim=2), hidden[:, 0].any(dim=1)
    assert torch.equal(hidden[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    assert set(rows.sum(1).tolist()) <= {3, 4, 5, 6}  # of side 6, cut off by the border to half
    assert set(columns.sum(1).tolist()) <= {3, 4, 5, 6}
    inside = rows[:, 3:-3].any(dim=1) & ~rows[:, 0] & ~rows[:, -1]
    assert rows[inside].sum(1).float().mean() == 6.0
    # The middle is anywhere: a pixel is hidden by the share of the middles that are near it.
    assert hidden[:, 0, 6, 10].float().mean().item() == pytest.approx(6 / 12 * 6 / 20, abs=0.05)
    assert hidden[:, 0, 0, 0].float().mean().item() == pytest.approx(3 / 12 * 3 / 20, abs=0.03)
    with pytest.raises(ValueError, match="hole must be between 0 and 1"):
        Augmentation(hole=1.5)
