"""Figures that are not drawn, or as .png alone: tests/report draws .svg and .pdf, which take as long again each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.figure import Figure

draw = Figure.savefig


@contextmanager
def drawn_as(*suffixes: str) -> Iterator[None]:
    """Figures of other suffixes are empty files."""

    def savefig(figure: Figure, file: Path, **options) -> None:
        draw(figure, file, **options) if Path(file).suffix in suffixes else Path(file).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield
