"""Endorsements that were fetched before, on disk; see `store`."""
