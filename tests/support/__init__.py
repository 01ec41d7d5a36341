"""What tests of the whole relay share: origins, clients, captures, real programs."""
