"""Data of the user's own: a folder of class folders, an ``.npz``, Parquet files with images."""

from jaxvision.data.own.loading import Kind, kind_of, load

__all__ = ["Kind", "kind_of", "load"]
