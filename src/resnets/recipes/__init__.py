"""How it learns: recipes as records, and the builder into optimizer and schedule."""
