"""Profile sets: thresholds, router and description in one folder, for one model.

Public: `profile_set.ProfileSet` (load, save, check), `sparsity.sparsify_` (put it on a model) and
`sparsity.Sparsity`, `description.Description`, `identity.sketch`.
"""
