"""Errors of the project: one root, and two branches that decide whether Kubernetes tries again.

A permanent error (bad input, bad configuration) comes back at every attempt; a transient one (storage, network) may not.
Errors of other libraries are wrapped once, where they are first met, with ``raise … from``. Only :mod:`processor.cli.commands`
knows exit codes.
"""

from __future__ import annotations

from processor.redaction import hide_secrets


class MosaicError(Exception):
    """Root of every error that this project raises on purpose; its message holds no secret, whatever it was made of."""

    def __init__(self, message: str = "") -> None:
        super().__init__(hide_secrets(message))


class PermanentError(MosaicError):
    """Trying again is useless: the input or the request has to change."""


class ConfigError(PermanentError):
    """A parameter, option or configuration file that cannot be used; names it, its value and what is allowed."""


class InputError(PermanentError):
    """A scene, an Item or an ItemCollection that cannot be used; names the scene, the asset and what to do."""


class UnreadableError(InputError):
    """Storage has no such file, or does not give it: the scene may be left out, if that is allowed."""


class NothingFoundError(InputError):
    """A search on a STAC API finds no Item."""


class ExistsError(PermanentError):
    """The destination holds something else under this name already."""


class QualityError(PermanentError):
    """The mosaic was published but fails a threshold of ``--fail-on``; another attempt gives the same mosaic."""


class TransientError(MosaicError):
    """Trying again may help."""


class StorageError(TransientError):
    """Storage or the network failed."""
