"""Fitting routers and benefit routers, and asking them about samples of kinds that they have not seen."""
