"""Whose are the files of an image: distribution packages, and what is built into binaries."""
