"""The kind that gives each word a tag, and how its words, tokens and entities belong together."""
