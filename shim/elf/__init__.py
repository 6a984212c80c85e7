"""The bytes of an ELF file as facts: segments, functions, relocations, what the unwinder knows."""
