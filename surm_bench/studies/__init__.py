"""The studies of the paper: each file has ``main(folder, quick)`` and writes records, a table and a figure."""
