"""The first step with classes of one's own: what the data hold, their splits, and a recipe to begin with."""

__all__ = ["into_recipe", "project", "start"]
