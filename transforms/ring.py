"""A ring of bags of state, one a window: a firing reads what it takes and little more."""


def taken(bag, window: int) -> list[tuple]:
    """Takes what a bag holds of one window, tuples of the window and more; what is of windows that share the bag goes
    back."""
    held = list(bag.read())
    bag.clear()
    for each in held:
        if each[0] != window:
            bag.add(each)
    return [each for each in held if each[0] == window]
