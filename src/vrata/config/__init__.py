"""Configuration: `config.yaml` and the environment become frozen settings.

The *document* is what the YAML file says, with the variables of the *environment* substituted. Its *sections* are
checked like entities are; each broken rule is a problem that names the key. *Settings* are what the programs use:
defaults filled in, durations in seconds, keys decoded. Flow: file → document → substitution → sections → settings.
"""

from vrata.config.errors import ConfigError
from vrata.config.loading import DEFAULT_PATH, Command, load
from vrata.config.settings import (
    Address,
    ApiKey,
    ControlPlaneSettings,
    LogSettings,
    ProxySettings,
    SecretSources,
    SessionStoreSettings,
    Settings,
)
from vrata.config.tls import ClientTLS, Pem, ServerTLS

__all__ = [
    "DEFAULT_PATH",
    "Address",
    "ApiKey",
    "ClientTLS",
    "Command",
    "ConfigError",
    "ControlPlaneSettings",
    "LogSettings",
    "Pem",
    "ProxySettings",
    "SecretSources",
    "ServerTLS",
    "SessionStoreSettings",
    "Settings",
    "load",
]
