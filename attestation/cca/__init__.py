"""Arm CCA: tokens of a realm and of the platform below it."""
