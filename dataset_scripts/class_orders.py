"""Other orders and spellings of the classes that are in circulation, and the way between them.

A label or a row of a classifier means a class only together with an order. `canonical` is that of
`class_names`; checkpoints and label files made elsewhere may follow another one:

    numbers = class_permutation("dota_v2", "bbt", "canonical")
    label = numbers[label]                      # a label of BboxToolkit becomes one of ours
    weight = weight[class_permutation("dota_v2", "canonical", "bbt")]  # and rows of a classifier

Source: class lists of mmrotate and the DOTA development kit (the same), of BboxToolkit, which SOTA
follows, of torchgeo, of the FAIR1M paper and of the xView challenge.
"""

from mtp_hf.dataset_scripts.class_names import (
    DOTA_V1_CLASSES,
    DOTA_V2_CLASSES,
    FAST_CLASSES,
    SIOR_CLASSES,
    SOTA_CLASSES,
    XVIEW_CLASSES,
    normalize_class_name,
)

DOTA_TORCHGEO = [
    "plane",
    "ship",
    "storage-tank",
    "baseball-diamond",
    "tennis-court",
    "basketball-court",
    "ground-track-field",
    "harbor",
    "bridge",
    "large-vehicle",
    "small-vehicle",
    "helicopter",
    "roundabout",
    "soccer-ball-field",
    "swimming-pool",
    "container-crane",
    "airport",
    "helipad",
]

# Alphabetical, so that `dam` comes before the two of the expressway.
DIOR_TORCHGEO = [
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "dam",
    "expresswayservicearea",
    "expresswaytollstation",
    "golffield",
    "groundtrackfield",
    "harbor",
    "overpass",
    "ship",
    "stadium",
    "storagetank",
    "tenniscourt",
    "trainstation",
    "vehicle",
    "windmill",
]

# By category as in the paper, in the spelling of the label files and of the result server.
FAIR1M_PAPER = [
    "Passenger Ship",
    "Motorboat",
    "Fishing Boat",
    "Tugboat",
    "other-ship",
    "Engineering Ship",
    "Liquid Cargo Ship",
    "Dry Cargo Ship",
    "Warship",
    "Small Car",
    "Bus",
    "Cargo Truck",
    "Dump Truck",
    "other-vehicle",
    "Van",
    "Trailer",
    "Tractor",
    "Excavator",
    "Truck Tractor",
    "Boeing737",
    "Boeing747",
    "Boeing777",
    "Boeing787",
    "ARJ21",
    "C919",
    "A220",
    "A321",
    "A330",
    "A350",
    "other-airplane",
    "Baseball Field",
    "Basketball Court",
    "Football Field",
    "Tennis Court",
    "Roundabout",
    "Intersection",
    "Bridge",
]

# The names of xView that MTP shortens.
XVIEW_OFFICIAL_NAMES = {
    "Cargo Plane": "Passenger/Cargo Plane",
    "Truck w/Box": "Truck Tractor w/ Box Trailer",
    "Truck w/Flatbed": "Truck Tractor w/ Flatbed Trailer",
    "Truck w/Liquid": "Truck Tractor w/ Liquid Tank",
    "Cargo Car": "Cargo/Container Car",
}
XVIEW_OFFICIAL = [XVIEW_OFFICIAL_NAMES.get(name, name) for name in XVIEW_CLASSES]

DOTA_ORDERS = {
    "canonical": DOTA_V2_CLASSES,
    "mmrotate": DOTA_V2_CLASSES,
    "devkit": DOTA_V2_CLASSES,
    "bbt": SOTA_CLASSES,
    "torchgeo": DOTA_TORCHGEO,
}
# Data set -> order -> class names, each order in its own spelling. The classes that later releases
# of DOTA add stand at the end of every order.
CLASS_ORDERS: dict[str, dict[str, list[str]]] = {
    "dota_v1": {order: names[: len(DOTA_V1_CLASSES)] for order, names in DOTA_ORDERS.items()},
    "dota_v1_5": {order: names[:16] for order, names in DOTA_ORDERS.items()},
    "dota_v2": DOTA_ORDERS,
    "dior": {"canonical": SIOR_CLASSES, "torchgeo": DIOR_TORCHGEO},
    "fair1m_v2": {"canonical": FAST_CLASSES, "paper": FAIR1M_PAPER},
    "xview": {"canonical": XVIEW_CLASSES, "official": XVIEW_OFFICIAL},
}


def class_permutation(dataset: str, source: str, target: str) -> list[int]:
    """Numbers of the classes of one order in another one.

    Args:
        dataset: key of `CLASS_ORDERS`.
        source: name of the order that labels are in.
        target: name of the order they are wanted in.

    Returns:
        Entry i is the number in `target` of class i of `source`.

    Raises:
        ValueError: there is no such data set or order.
    """
    names = class_name_map(dataset, source, target)
    return [_order(dataset, target).index(name) for name in names.values()]


def class_name_map(dataset: str, source: str, target: str) -> dict[str, str]:
    """Names of one order -> names of the same classes in another one, in the order of the first.

    Raises:
        ValueError: there is no such data set or order.
    """
    wanted = {_key(name): name for name in _order(dataset, target)}
    return {name: wanted[_key(name)] for name in _order(dataset, source)}


def _order(dataset: str, order: str) -> list[str]:
    if dataset not in CLASS_ORDERS:
        raise ValueError(
            f"no class orders of data set {dataset!r}; expected one of {sorted(CLASS_ORDERS)}"
        )
    if order not in CLASS_ORDERS[dataset]:
        raise ValueError(
            f"data set {dataset!r} has no class order {order!r}; expected one of "
            f"{sorted(CLASS_ORDERS[dataset])}"
        )
    return CLASS_ORDERS[dataset][order]


def _key(name: str) -> str:
    """What the spellings of one class have in common."""
    return normalize_class_name(XVIEW_OFFICIAL_NAMES.get(name, name))
