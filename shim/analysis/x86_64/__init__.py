"""What the analysis knows of x86-64."""
