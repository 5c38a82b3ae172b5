"""The experiment file: one module a section of the YAML, its loading and its checks."""
