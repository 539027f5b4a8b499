"""How preferences go wrong (spec/preference.md)."""
