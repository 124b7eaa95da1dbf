"""Where the numbers come from: which linear maps a checkpoint has (families, projections) and how it is loaded."""
