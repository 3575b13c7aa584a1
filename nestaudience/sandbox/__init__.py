"""Local servers that speak the platforms' real protocols, and a generated store. Nothing here runs in production."""
