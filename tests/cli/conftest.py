"""Small tables in every format, and a check of how a command fails."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.cli import main


def _table(pd, n, seed, moved=0.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.05, np.nan, 40 + 8 * y + moved + rng.normal(0, 3, n)),
            "town": np.where(rng.random(n) < 0.8, np.array(["ham", "york"])[y], "leeds"),
            "member": rng.random(n) < 0.5,
            "bought": np.array(["no", "yes"])[y],
        }
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two samples of one shop as csv, parquet and npz, in a folder."""
    pd = pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("tables")
    source, target = _table(pd, 300, 0), _table(pd, 200, 1, moved=2.0)
    for name, frame in (("source", source), ("target", target)):
        frame.to_csv(folder / f"{name}.csv", index=False)
        frame.to_parquet(folder / f"{name}.parquet")
    target.drop(columns="bought").to_csv(folder / "bare.csv", index=False)
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 240)
    X = rng.normal(size=(240, 4)) + y[:, None]
    np.savez(folder / "source.npz", X=X[:140], y=y[:140])
    np.savez(folder / "target.npz", X=1.5 * X[140:], y=y[140:])
    return folder


@pytest.fixture
def fails(capsys):
    """Run a command that must end with one line on stderr and code 2."""

    def check(arguments, *parts):
        assert main([str(a) for a in arguments]) == 2
        told = capsys.readouterr()
        lines = told.err.strip().splitlines()
        assert len(lines) == 1, told.err
        assert "Traceback" not in told.err
        for part in parts:
            assert part in lines[0]

    return check
