"""The parts of scripts/cifar_subset.py."""
