"""Event logs of firmware and boot loaders: what was extended into which register, and why."""
