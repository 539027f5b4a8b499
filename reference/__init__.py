"""The specification made runnable: one module per chapter, generic in its number type, time leading."""
