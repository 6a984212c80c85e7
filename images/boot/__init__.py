"""How does a machine get to boot an image: what it is, what the host offers, and QEMU's command line?"""
