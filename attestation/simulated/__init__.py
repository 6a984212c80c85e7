"""SIMULATED: SEV-SNP's report format under a root of our own, for laptops, CI and demonstrations."""
