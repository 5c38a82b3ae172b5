"""The search by itself: what to try next and which trials to stop. Optuna's only door.

It knows spaces, objectives and finished trials; it knows nothing of processes or clusters, so the
local engine calls it in-process and Katib's services over gRPC.
"""
