"""What a user takes away: a profile set in a folder of its own, and a model that generates with it."""
