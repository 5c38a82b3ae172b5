"""Work beside the trials, in a process or a pod of its own: check, prepare, evaluate, promote."""
