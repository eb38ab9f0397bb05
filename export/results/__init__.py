"""What an export ends in: the schema of a result, its folder, and the comparison behind it."""
