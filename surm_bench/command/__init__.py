"""The command line: each command takes arguments and returns an exit code. The library does not import this package."""
