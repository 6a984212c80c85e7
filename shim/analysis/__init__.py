"""From machine code to the system calls it can make: decode, reach, values, derive."""
