"""Scoring: exported models read as they are served, and the statistics of what they said."""
