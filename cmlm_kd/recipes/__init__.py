"""Recipes: experiments as lists of steps in YAML files, run by ``cmlm-kd run`` (docs/recipes.md)."""
