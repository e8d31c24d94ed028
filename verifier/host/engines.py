"""Which engine hosts the workers."""

from enum import StrEnum

import structlog

from verifier.envoy.process import EnvoyEngine
from verifier.errors import SettingsError
from verifier.host.engine import Engine, EngineUnavailable, GrpcioEngine

_log = structlog.get_logger("verifier")


class EngineName(StrEnum):
    """What `--engine` takes."""

    AUTO = "auto"  # Envoy where it runs
    GRPCIO = "grpcio"
    ENVOY = "envoy"


def choose_engine(name: EngineName) -> Engine:
    """Return the engine of that name; raises SettingsError for one that does not run here.

    What `auto` takes is said in the log, once.
    """
    if name is EngineName.GRPCIO:
        return GrpcioEngine()
    try:
        engine = EnvoyEngine()
    except EngineUnavailable as error:
        if name is EngineName.ENVOY:
            raise SettingsError(f"--engine: envoy does not run here: {error}") from None
        _log.info("engine chosen", engine=GrpcioEngine.name, envoy_does_not_run=str(error))
        return GrpcioEngine()
    if name is EngineName.AUTO:
        _log.info("engine chosen", engine=engine.name)
    return engine
