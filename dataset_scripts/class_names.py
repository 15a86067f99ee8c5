"""Class names of the pretraining sets, in the one order that every file of this project uses.

A checkpoint's classifier is bound to an order, and several orders are in circulation: SOTA and
SOTA-RBB follow BboxToolkit (not the DOTA order of the finetuning sets), SIOR and FAST follow MTP.
Labels are 0...K-1 without background.

Source: class tables of the published pretraining code and of the SAMRS generation scripts.
"""

SOTA_CLASSES = [
    "large-vehicle",
    "swimming-pool",
    "helicopter",
    "bridge",
    "plane",
    "ship",
    "soccer-ball-field",
    "basketball-court",
    "ground-track-field",
    "small-vehicle",
    "baseball-diamond",
    "tennis-court",
    "roundabout",
    "storage-tank",
    "harbor",
    "container-crane",
    "airport",
    "helipad",
]

SIOR_CLASSES = [
    "airplane",
    "airport",
    "baseballfield",
    "basketballcourt",
    "bridge",
    "chimney",
    "expressway-service-area",
    "expressway-toll-station",
    "dam",
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

# Official FAIR1M spelling has blanks where this has hyphens; names are compared without either.
FAST_CLASSES = [
    "A220",
    "A321",
    "A330",
    "A350",
    "ARJ21",
    "Baseball-Field",
    "Basketball-Court",
    "Boeing737",
    "Boeing747",
    "Boeing777",
    "Boeing787",
    "Bridge",
    "Bus",
    "C919",
    "Cargo-Truck",
    "Dry-Cargo-Ship",
    "Dump-Truck",
    "Engineering-Ship",
    "Excavator",
    "Fishing-Boat",
    "Football-Field",
    "Intersection",
    "Liquid-Cargo-Ship",
    "Motorboat",
    "other-airplane",
    "other-ship",
    "other-vehicle",
    "Passenger-Ship",
    "Roundabout",
    "Small-Car",
    "Tennis-Court",
    "Tractor",
    "Trailer",
    "Truck-Tractor",
    "Tugboat",
    "Van",
    "Warship",
]


def normalize_class_name(name: str) -> str:
    """Drop case, hyphens, underscores and blanks, in which copies of the sets differ."""
    return "".join(c for c in name.lower() if c not in "-_ ")
