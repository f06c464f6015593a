"""Categories, products, accessories, and which fits which."""

from __future__ import annotations

from samples.generate.features import FEATURES, add_features
from samples.generate.tables import read_sections
from samples.generate.world import Ref, World

CATEGORIES: dict[str, str] = {
    "C_PHONE": "phones",
    "C_LAPTOP": "laptops",
    "C_TABLET": "tablets",
    "C_WATCH": "watches",
    "C_AUDIO": "earbuds and headphones",
    "C_SPEAKER": "speakers",
    "C_CAMERA": "cameras",
    "C_HOME": "smart-home devices",
    "C_ROUTER": "routers",
    "C_MONITOR": "monitors",
    "C_READER": "e-readers",
}

HELD_OUT: frozenset[str] = frozenset(
    (
        *("P_X220", "P_V20", "P_AERO14", "P_ATLAS16", "P_SLATE11", "P_SKETCH13"),
        *("P_ORBIT4", "P_BAND5", "P_MURSPORT", "P_HUSH700", "P_BOOMXL", "P_HALLBAR5"),
        *("P_LUCIDM7", "P_ACTION4", "P_HBELL", "P_MESHR6", "P_VISTA32", "P_FOLIO7"),
    )
)
"""Products that occur in no ticket: gold questions ask about them, so an answer has to come from
the graph."""

_NOUNS = frozenset(
    (
        *("phone", "laptop", "tablet", "watch", "earbuds", "headphones", "speaker", "soundbar"),
        *("camera", "router", "extender", "monitor", "e-reader"),
    )
)

_MIN_FIRMWARE = {("P_X200", "A_MAG15"): "5.2.0", ("P_X250", "A_TRIO"): "5.4.0"}
_MIN_FIRMWARE |= {("P_MURPRO", "A_PAD10"): "3.0.2", ("P_SLATE12P", "A_DOCK8"): "7.5.0"}


def product_aliases(name: str) -> list[str]:
    """Short ways to say a product's name: without its noun, and with hyphens and spaces closed.

    Example:
        "X-200 phone" -> ["X-200", "X200"]
    """
    words = name.split()
    short = " ".join(words[:-1]) if words[-1] in _NOUNS else name
    aliases = [short] if short != name else []
    if "-" in short:
        aliases.append(short.replace("-", ""))
    elif any(part[0].isdigit() for part in short.split()):
        aliases.append(short.replace(" ", ""))
    return aliases


def _add_products(world: World) -> None:
    for category, rows in read_sections("products").items():
        for row in rows:
            (
                product_id,
                name,
                price,
                released,
                firmware,
                warranty,
                stock,
                grams,
                mah,
                colors,
                has,
            ) = row
            ref = world.add(
                "Product",
                product_id,
                name,
                aliases=product_aliases(name),
                category=category,
                price_eur=float(price),
                released=released,
                latest_firmware=firmware,
                warranty_months=int(warranty),
                stock=stock,
                weight_g=int(grams),
                battery_mah=int(mah) or None,
                colors=colors.split(),
            )
            world.link(ref, "IN_CATEGORY", ("Category", category))
            for feature_id in has.split():
                world.link(ref, "SUPPORTS_FEATURE", ("Feature", feature_id))


def _fitting(world: World, fits: str, protocols: list[str]) -> list[Ref]:
    """Products an accessory fits: by name, by category, and by a protocol both speak."""
    named = fits.replace("protocol", "").replace(",", " ").split()
    found: list[Ref] = []
    for product in world.of("Product"):
        spoken = {edge.end[1] for edge in world.out(product, "SUPPORTS_FEATURE")}
        by_name = product[1] in named or world.props(product)["category"] in named
        by_protocol = "protocol" in fits and bool(spoken.intersection(protocols))
        if by_name or by_protocol:
            found.append(product)
    return found


def _accessory_aliases(name: str) -> list[str]:
    short = name.split(" for ")[0]
    aliases = [short] if short != name else []
    if " W" in name:
        aliases.append(name.replace(" W", "W"))
    return aliases


def _add_accessories(world: World) -> None:
    for kind, rows in read_sections("accessories").items():
        for accessory_id, name, price, stock, fits, spoken in rows:
            ref = world.add(
                "Accessory",
                accessory_id,
                name,
                aliases=_accessory_aliases(name),
                kind=kind,
                price_eur=float(price),
                stock=stock,
            )
            protocols = spoken.split()
            for feature_id in protocols:
                world.link(ref, "COMPATIBLE_WITH", ("Feature", feature_id))
            for product in _fitting(world, fits, protocols):
                firmware = _MIN_FIRMWARE.get((product[1], accessory_id))
                world.link(product, "COMPATIBLE_WITH", ref, min_firmware=firmware)


def add_catalogue(world: World) -> None:
    """Add categories, features, products and accessories with their relationships."""
    for category_id, name in CATEGORIES.items():
        world.add("Category", category_id, name)
    add_features(world)
    _add_products(world)
    _add_accessories(world)


def protocols_of(world: World, product: Ref) -> list[Ref]:
    """Charging protocols of a product, in the order of the catalogue."""
    known = {feature_id for feature_id, _, _ in FEATURES["protocol"]}
    return [e.end for e in world.out(product, "SUPPORTS_FEATURE") if e.end[1] in known]


def category_of(world: World, product: Ref) -> str:
    """Category id of a product."""
    return str(world.props(product)["category"])
