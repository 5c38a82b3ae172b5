"""The model of a trial before its first step: built, adapted, and whether it fits together."""
