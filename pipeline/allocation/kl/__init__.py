"""Model-wide allocation by the KL between dense and masked answers. Entries: `kl.allocate`, `shrinkage.specialise`."""
