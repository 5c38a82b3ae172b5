"""From the user's files to a prepared dataset: read, split, encode, store."""
