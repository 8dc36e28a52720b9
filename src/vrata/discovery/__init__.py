"""Finding endpoints at run time: *targets* in, by destination, and what was *found* for them out.

What finds them knows nothing of the proxy that uses them; what they share is :mod:`vrata.net.discovered`.
"""
