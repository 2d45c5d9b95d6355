from __future__ import annotations

from pathlib import Path

import pytest

from shiftlab.data import list_cards, read_card, resource_root, resources
from shiftlab.data.cards import _parse


def test_the_five_cards_say_what_is_needed() -> None:
    cards = {card.name: card for card in list_cards() if card.collection == "digit5"}
    assert set(cards) == {"mnist", "mnist_m", "usps", "svhn", "synth"}
    assert {name for name, c in cards.items() if c.non_commercial} == {"mnist_m", "svhn"}
    for name in ("mnist_m", "svhn"):
        assert "non-commercial" in cards[name].licence
    assert {name for name, card in cards.items() if card.recipe} == {"mnist_m", "synth"}
    assert [len(cards[name].files) for name in ("mnist", "usps", "svhn")] == [4, 2, 2]
    assert (cards["svhn"].n_train, cards["svhn"].n_test) == (73257, 26032)
    for card in cards.values():
        assert len(card.citation) > 40
        for file in card.files:
            algorithm, _, digest = file.hash.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
            assert int(digest, 16) > 0
            assert all(url.endswith(f"/{file.name}") for url in file.urls)


def test_an_unknown_card_is_named() -> None:
    with pytest.raises(ValueError, match=r"card_name must be one of \[.*'mnist'.*\], got 'cifar'"):
        read_card("cifar")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('title = "USPS"', ""), r"missing keys \['title'\]"),
        (('title = "USPS"', 'title = "USPS"\nsize = 3'), r"unknown keys \['size'\]"),
        (('name = "usps"', 'name = "mnist"'), "name must be 'usps' like the file"),
        (('name = "usps.bz2"', 'name = "../usps.bz2"'), "must not hold a folder"),
        (("md5:", "crc:"), "must start with 'sha256:' or 'md5:'"),
        (("[[files]]", "[[files"), "not valid TOML"),
    ],
)
def test_a_wrong_card_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    good = (resource_root("datasets") / "digit5" / "usps.toml").read_text()
    path = tmp_path / "usps.toml"
    path.write_text(good.replace(*change))
    with pytest.raises(ValueError, match=rf"usps\.toml: .*{message}"):
        _parse(path)


def test_resources_are_found_in_a_clone_and_in_a_wheel(tmp_path, monkeypatch) -> None:
    module = tmp_path / "site" / "shiftlab" / "data" / "resources.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(resources, "__file__", str(module))
    with pytest.raises(FileNotFoundError, match="this installation has no experiments folder"):
        resource_root("experiments")
    in_clone = tmp_path / "site" / "experiments"
    in_clone.mkdir()
    assert resource_root("experiments") == in_clone
    in_wheel = tmp_path / "site" / "shiftlab" / "_studies"
    in_wheel.mkdir()
    assert resource_root("experiments") == in_wheel
    with pytest.raises(ValueError, match="kind must be one of"):
        resource_root("papers")
