"""Report: one page a person can read, from what was measured."""
