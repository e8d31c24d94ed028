"""Who asks, what its gate's policy is, and whether a code has let somebody in already."""
