"""Check every record of an experiment, and every file a record names, against its digests, without cached digests."""

from collections.abc import Sequence
from pathlib import Path

from surm_bench.content import FileCache
from surm_bench.errors import UserError
from surm_bench.experiment.definition import Experiment
from surm_bench.experiment.jobs import pairs, resolved
from surm_bench.records import Archive, check_files, check_predictions, how_to_repeat, read_runs, run_folder


def verified(experiment: Experiment, folder: Path, places: Sequence[str]) -> list[str]:
    """Check records, adapters and predictions below a folder and, if available on this machine, data and weights.

    Returns:
        A line for each mismatch.
    """
    cache, archive = FileCache(verify=True), Archive(folder)
    problems, records = archive.problems + check_predictions(folder), archive.records()
    for record in read_runs(folder).records:  # a run that was repeated here has other files than the record that counts
        run = run_folder(folder, record.run_id)
        try:
            check_files(record, run, cache)
        except UserError as error:
            problems.append(f"{error}: {how_to_repeat(record, run)}")
    checked, absent, unequal = _check_contents(experiment, places, cache)
    print(
        f"{experiment.name}: {len(records)} records read, {checked} data sets and models compared with their digests"
        + (f", {absent} not available here" if absent else "")
    )
    return problems + unequal


def _check_contents(experiment: Experiment, places: Sequence[str], cache: FileCache) -> tuple[int, int, list[str]]:
    """Return how many data sets and models were compared, how many could not be read, and a line for each mismatch."""
    from surm_bench.experiment.contents import declared, read_content  # imports torch, so only when needed

    wanted = {item for job in pairs(experiment) for item in declared(resolved(job), places)}
    given = {place.partition(".")[0] for place in places}
    checked, absent, problems = 0, 0, []
    for content in sorted(wanted, key=lambda content: (content.group, content.name, content.key)):
        try:
            digest = read_content(content, cache)
        except UserError as error:
            absent += 1
            if content.group in given:  # the user named a place, and its files cannot be read
                problems.append(str(error))
            else:
                print(f"not available: {error}")
            continue
        checked += 1
        if content.digest is None:
            key = f"{content.group}.digest={digest}"
            problems.append(f"{content.group} {content.name} declares no digest: add {key} to its overrides")
        elif digest != content.digest:
            problems.append(f"{content.group} {content.name} has digest {digest} here, but declares {content.digest}")
    return checked, absent, problems
