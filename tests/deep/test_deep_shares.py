"""Class shares that a training holds, and images on random backgrounds."""

import doctest
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

from shiftlab.deep.augment import Augmentation, _on_field  # noqa: E402
from shiftlab.deep.class_shares import ClassShares  # noqa: E402
from shiftlab.deep.images import standardise  # noqa: E402


@pytest.mark.parametrize("name", ["class_shares", "adversary"])
def test_examples_run(name):
    assert doctest.testmod(import_module(f"shiftlab.deep.{name}")).failed == 0


def one_hot(counts):
    classes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return torch.nn.functional.one_hot(classes, len(counts)).float()


def test_wanted_shares_go_half_of_the_way_on_a_geometric_path():
    prior = torch.tensor([0.5, 0.25, 0.25])
    shares = ClassShares(prior, 2.0)
    found = torch.tensor([0.4, 0.4, 0.2])
    for trust in (0.0, 0.5, 1.0):
        shares.follow(one_hot([40, 40, 20]), trust)
        by_hand = prior ** (1 - trust) * found**trust
        assert torch.allclose(shares.wanted, by_hand / by_hand.sum(), atol=1e-4)


def test_wanted_shares_stay_within_the_ratio():
    shares = ClassShares(torch.tensor([0.5, 0.5]), 1.5)
    shares.follow(one_hot([100, 0]), 1.0)
    assert shares.wanted.tolist() == pytest.approx([1.5 / (1.5 + 1 / 1.5), 1 - 0.6923077], abs=1e-5)


def test_predictions_are_aligned_by_the_running_shares():
    torch.manual_seed(0)
    prior = torch.tensor([0.2, 0.3, 0.5])
    shares, seen = ClassShares(prior, 2.0), prior.clone()
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
    x = standardise(torch.randint(0, 256, (400, 1, 8, 8)).float())
    generator = torch.Generator().manual_seed(0)
    same = Augmentation(**off)(x, generator)
    assert torch.equal(same, x)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
    changed = Augmentation(**off, background=0.3)(x, generator)
    share = (changed != x).flatten(1).any(dim=1).float().mean()
    assert 0.22 < share < 0.38
    with pytest.raises(ValueError, match="background must be between"):
        Augmentation(background=1.5)
