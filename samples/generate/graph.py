"""The whole graph of the company, built part by part."""

from __future__ import annotations

from samples.generate.catalogue import add_catalogue
from samples.generate.customers import add_customers
from samples.generate.faults import add_faults
from samples.generate.policies import add_articles, add_policies, add_promotions
from samples.generate.world import World


def build_graph() -> World:
    """Build the graph; the same one every time."""
    world = World()
    add_catalogue(world)
    add_faults(world)
    add_policies(world)
    add_promotions(world)
    add_articles(world)
    add_customers(world)
    return world
