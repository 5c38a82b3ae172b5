"""The two gRPC services behind our algorithm names: suggestion and stopping, over search/."""
