"""What the loop needs of the world: one small Protocol a file."""
