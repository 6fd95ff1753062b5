"""The name of the training set that is drawn."""

#: It is drawn from label maps as it is needed, and is on disk nowhere.
DRAWN = "Simulated"


def is_drawn(name: str) -> bool:
    """Whether this is the name of the training set that is drawn, in any case of letters."""
    return name.lower() == DRAWN.lower()
