"""What can happen to a company's books: each change a function, with the events that Pennylane would raise for it.

Every function takes the company first, picks a suitable target itself where none is given, and returns a dictionary
with the `id` of what it changed. It refuses what makes no sense with `ImpossibleError`.
"""
