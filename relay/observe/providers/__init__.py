"""What gives a leg on a kernel's socket its abilities: a file for each mechanism."""
