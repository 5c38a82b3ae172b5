"""A finished model folder that answers: held-out rows, one input, requests over HTTP."""
