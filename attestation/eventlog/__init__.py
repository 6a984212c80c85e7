"""Event logs of firmware and boot loaders: what was extended into which register, and why."""

MAXIMUM_SIZE = 1 << 22
"""The bytes of the longest log that is read: one that a kernel keeps has some tens of thousands."""
MOST_EVENTS = 1 << 14
"""The events of the longest log that is read: machines have hundreds."""
