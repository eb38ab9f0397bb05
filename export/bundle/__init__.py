"""Board programs: what to copy to the board for an export, and what to run there."""
