"""Small real training runs that record what they compute, each with defects that can be switched on."""
