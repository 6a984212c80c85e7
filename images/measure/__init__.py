"""
What will hardware measure when this is booted?

Bytes in, digests out: reference values for SEV-SNP, TDX and the registers of a TPM, computed from the files
that are launched.  Nothing here reads a file, opens a socket or asks a clock.
"""
