"""How proximal policy optimisation goes wrong."""
