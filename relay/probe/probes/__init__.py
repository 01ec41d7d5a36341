"""The probes: one file each, which says how it measures, and how sure that is."""
