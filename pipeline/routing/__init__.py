"""Fit routers and benefit routers, and test them on tasks and wordings that they were not fitted on."""
