"""The registry in a folder: an SQLite database and the models beside it."""
