"""Studies draw their figures as .png alone: tests/report covers .svg and .pdf, which take as long again each."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="module", autouse=True)
def png_alone():
    draw = Figure.savefig

    def savefig(figure: Figure, file: Path, **options) -> None:
        if Path(file).suffix == ".png":
            draw(figure, file, **options)
        else:
            Path(file).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield
