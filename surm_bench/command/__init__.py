"""The command line: arguments in, one line and an exit code out. The library does not import it."""
