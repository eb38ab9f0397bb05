"""The network in the forms that converters read, and the passes over it."""
