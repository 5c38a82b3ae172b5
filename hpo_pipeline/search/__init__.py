"""The search by itself: what to try next and which trials to stop. Optuna's only door.

It takes a `Problem` and finished trials and knows nothing of processes or clusters, so that the
local engine calls it in its own process and Katib's services over gRPC.
"""
