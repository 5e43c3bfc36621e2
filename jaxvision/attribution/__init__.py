"""Seeing into nets: which pixels a score depends on, and which pictures it likes best."""
