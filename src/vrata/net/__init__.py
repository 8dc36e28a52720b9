"""The only sockets of the data path: connections dialled to endpoints, and the one timer their deadlines share."""
