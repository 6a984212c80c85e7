"""What is in an image, said in the formats that others read: SPDX, CycloneDX, OpenVEX."""
