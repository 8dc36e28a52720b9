"""JSON Web Tokens: what a `token` says, the `key_set` that signs them, the `claims` that have to fit, those found good
before (`verified_tokens`), and claims as `header_text`. All of it is pure: keys, tokens and time are passed in.
"""
