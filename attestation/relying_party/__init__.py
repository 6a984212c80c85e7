"""The relying party: it asks, appraises, and releases what a machine may have."""
