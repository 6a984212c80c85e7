"""Concise Reference Integrity Manifests: reference values as supply chains exchange them."""
