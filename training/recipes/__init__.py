"""Recipes: one TOML file a trained network."""
