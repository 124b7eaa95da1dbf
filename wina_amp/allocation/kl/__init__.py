"""Model-wide allocation by the KL between dense and masked answers. Entries: `kl.kl`, `plan.pooled_plan`."""
