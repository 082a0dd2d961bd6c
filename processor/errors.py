"""The errors of the project: one root and the two branches that mean something to Kubernetes.

A permanent error cannot be mended by trying again (bad input, bad configuration); a transient one can (storage, network).
Foreign errors are wrapped once, where they enter, with ``raise … from``. Only :mod:`processor.cli.commands` knows exit codes.
"""

from __future__ import annotations


class MosaicError(Exception):
    """Root of every error that this project raises on purpose."""


class PermanentError(MosaicError):
    """Trying again is useless: the input or the request has to change."""


class ConfigError(PermanentError):
    """A parameter, an option or a configuration file that cannot be used; names it, the value and what is allowed."""


class InputError(PermanentError):
    """A scene, an Item or an ItemCollection that cannot be used; names the scene, the asset and what to do."""


class ExistsError(PermanentError):
    """The destination already holds something else under this name."""


class QualityError(PermanentError):
    """The mosaic was published and does not meet the thresholds that were asked for; trying again gives the same."""


class TransientError(MosaicError):
    """Trying again may help."""


class StorageError(TransientError):
    """Storage or the network failed."""
