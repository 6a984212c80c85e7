"""What the analysis knows of AArch64, the 64-bit state of Arm."""
