"""Cutting a model of a known family to a plan; what prune and distill share."""
