"""The machine and its disk: environment, errors of storage, whole files, and the place of this package."""
