"""Names of splits in local data: the one that was asked for, or another name of the same split."""

FIRST = ("validation", "test", "val")  # the reported split of a folder of images, where task.eval_split is null


def names_of_split(split: str) -> tuple[str, ...]:
    """Return the names that a split may have in a local folder, the first that is there counts.

    A folder may call validation ``val``, and MNLI's validation_matched ``validation``. A test split has no other name.
    """
    if split == "validation":
        return ("validation", "val")
    return (split, "validation") if split == "validation_matched" else (split,)
