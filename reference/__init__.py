"""The specification made runnable, in plain Python that is generic in its number type.

Every chapter has a module of its name; the others hold what chapters share, such as choices, reductions and linear
algebra.  What is about one episode takes a sequence with time leading, what is about a batch a table [B][T].
"""
