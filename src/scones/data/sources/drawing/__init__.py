"""Drawing: the built-in sample, drawn as seeded vector shapes in front of scenery."""
