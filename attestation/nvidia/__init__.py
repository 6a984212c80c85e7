"""NVIDIA GPUs and switches in confidential computing mode: measurements by SPDM."""
