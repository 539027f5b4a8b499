"""What is checked: thin adapters to real libraries, one file each, and the two that ship with rlspec."""
