"""What the middlewares of each type do with a supposed request: one function ``effect`` for each type.

Each asks what the stage on the data path asks: the stage itself where it decides at once, else the function that it
decides by. What only somebody else knows is an *assumption*, under which the request goes on.
"""
