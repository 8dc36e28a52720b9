"""Middlewares of type ``python``: classes of the user's own.

*Modules* are loaded when a worker starts; an *instance* makes one object of a class for one middleware entity; *stages*
call it for requests and responses, as *calls* whose errors stay within.
"""
