"""Checks of everything that a sweep opens or asks, in the order in which it would."""
