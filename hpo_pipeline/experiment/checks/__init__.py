"""Whether the parts of an experiment fit together: pure, and the same for every engine."""
