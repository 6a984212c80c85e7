"""AMD SEV-SNP: attestation reports, the VCEK and VLEK certificates, and their appraisal."""
