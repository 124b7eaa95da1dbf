"""Profile sets: thresholds, router and description in one folder, for one model.

Public: `profile_set.ProfileSet` (load, save, install), `description.Description`, `identity.sketch`.
"""
