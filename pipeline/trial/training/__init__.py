"""The training loop and what it is made of: recipe, precision, compilation, dropout, memory. Imports nothing."""
