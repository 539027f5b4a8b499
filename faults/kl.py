"""How the KL divergence goes wrong."""
