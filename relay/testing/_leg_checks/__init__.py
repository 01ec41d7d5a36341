"""The checks of `check_leg`, each a function on a fresh pair of legs; a file for each part of the contract."""
