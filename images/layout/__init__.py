"""What lies in an OCI image layout on disk, every byte of it accounted for?"""
