"""Intel TDX and SGX: quotes of the data center attestation primitives (DCAP)."""
