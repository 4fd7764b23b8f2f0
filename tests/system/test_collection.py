"""The block that imports without searching for garbage leaves the collector as it was."""

import gc

import pytest

from surm_bench.system.collection import without_collection


@pytest.fixture(autouse=True)
def collector():
    was_enabled = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_in_the_block_and_as_before_after_an_error(enabled):
    (gc.enable if enabled else gc.disable)()
    with pytest.raises(ImportError), without_collection():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() == enabled


def test_later_searches_skip_what_exists_by_the_end_of_the_block():
    kept = [[]]
    with without_collection():
        pass
    assert not any(item is kept for item in gc.get_objects())
