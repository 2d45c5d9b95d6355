"""What the commands that run a study share."""

from __future__ import annotations

from pathlib import Path

__all__ = ["check_run", "words"]


def check_run(out: Path, jobs: int) -> None:
    """Refuse, before any work, a folder that cannot be one and too few processes."""
    if jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {jobs}")
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"--out {out}: {place} is a file; name a folder")


def words(text: str) -> list[str]:
    """Split a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
