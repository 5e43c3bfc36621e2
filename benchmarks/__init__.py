"""Side-by-side measurements against PyTorch and plain Flax: ``python -m benchmarks.run --help``."""
