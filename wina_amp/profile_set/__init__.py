"""Profile sets: `ProfileSet` loads, saves and installs one; its description, card and identity checks."""
