"""The control plane: entities come in over REST, one snapshot at a time goes out to every proxy.

The nouns, in the direction of flow:

- an *entity* is staged in the *store* by a request to the *api*; nothing of it reaches a proxy yet;
- a *snapshot* is captured from all staged entities, with secrets resolved and checks made, and never changes again;
- *activating* a snapshot moves one pointer in the store;
- *sync* sends the active snapshot to every connected proxy and keeps what each proxy acknowledges.
"""
