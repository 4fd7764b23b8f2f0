"""Studies draw their figures as .png alone."""

import pytest
from support.figures import drawn_as


@pytest.fixture(scope="module", autouse=True)
def png_alone():
    with drawn_as(".png"):
        yield
