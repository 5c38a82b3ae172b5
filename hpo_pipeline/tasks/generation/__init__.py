"""Kinds that predict tokens: language models, and texts written for texts."""
