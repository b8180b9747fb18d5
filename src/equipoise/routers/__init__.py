"""Routers: one file each, every one a quality estimator. The registry finds whatever stands here."""
