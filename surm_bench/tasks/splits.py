"""Names of splits in local data: the requested name and its synonyms."""

FIRST = ("validation", "test", "val")  # names of a folder's reported split if task.eval_split is null


def names_of_split(split: str) -> tuple[str, ...]:
    """Return the names that a split may have in a local folder; the first name that exists is used.

    A folder may call validation ``val``, and MNLI's validation_matched ``validation``. A test split has no other name.
    """
    if split == "validation":
        return ("validation", "val")
    return (split, "validation") if split == "validation_matched" else (split,)
