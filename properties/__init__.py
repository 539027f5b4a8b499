"""How it is checked: one module of Hypothesis properties per chapter, and what they share."""
