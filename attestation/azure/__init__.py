"""Azure confidential VMs: a vTPM, whose key a report of SEV-SNP or a quote of TDX vouches for."""
