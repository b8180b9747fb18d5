"""Arithmetic that several routers share: ridge regression, folds, frontiers, shrinkage."""
