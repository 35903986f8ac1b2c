"""The house rules as tests: what may import what, how files look, what is documented."""
