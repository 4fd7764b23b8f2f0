from support.made_up import changed
from support.made_up import record as made_up
from support.run_records import ENVIRONMENT, run

from surm_bench.report.provenance import commit, provenance


def test_a_table_of_several_machines_or_states_of_the_code_says_so():
    """By hand, of four runs: three on a CPU, one on a GPU; two digests of the sources, twice each; one dirty tree."""
    same = [run("circulant", "rte", seed, 0.5) for seed in range(4)]
    assert provenance(same) == "" == provenance([])
    several = [
        changed(record, environment=ENVIRONMENT | {"device_kind": kind, "git_dirty": dirty}, code={"sources": sources})
        for record, kind, sources, dirty in zip(
            same, ("gpu", "cpu", "cpu", "cpu"), "aabb", (False, False, True, False), strict=True
        )
    ]
    assert provenance(several) == (
        "The runs were made on 2 kinds of device (with the number of runs): cpu (3), gpu (1). "
        "The runs were made by 2 versions of the code (digest, and number of runs): a (2), b (2). "
        "The code of 1 of 4 runs had uncommitted changes."
    )


def test_the_code_of_a_run_is_told_by_its_commit_or_else_by_its_sources():
    known, dirty = ({"device": "cpu", "git_commit": "c", "git_dirty": dirty} for dirty in (False, True))
    installed = {"device": "cpu", "surm_bench": "0.1.0"}
    of_code = made_up(code={"sources": "abc", "method": None})
    told = [commit(changed(of_code, environment=one)) for one in (known, dirty, installed)]
    assert told == ["c", "c with uncommitted changes", "unknown commit: surm_bench 0.1.0, sources abc"]
