"""From a program's machine code to a confidential VM in which it may do nothing else."""

__version__ = "0.1.0"
