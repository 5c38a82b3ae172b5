"""Kinds that put a row into classes, or give it a number: of texts and of images."""
