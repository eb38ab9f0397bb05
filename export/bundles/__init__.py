"""Bundles: folders that a board engineer can copy, made from an export."""
