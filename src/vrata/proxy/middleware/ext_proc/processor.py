"""Processors: how that of one middleware is reached."""

from __future__ import annotations

from typing import Protocol

from vrata.model.middleware.ext_proc import ExtProc
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_proc.channel import Channel, ChannelOwner
from vrata.proxy.middleware.ext_proc.envoy_contract import METHOD as ENVOY_METHOD
from vrata.proxy.middleware.ext_proc.envoy_contract import EnvoyContract
from vrata.proxy.middleware.ext_proc.grpc_channel import GrpcChannel, GrpcService
from vrata.proxy.middleware.ext_proc.http_channel import HttpChannel
from vrata.proxy.middleware.ext_proc.settings import PlaceSettings
from vrata.proxy.middleware.ext_proc.vrata_contract import METHOD as VRATA_METHOD
from vrata.proxy.middleware.ext_proc.vrata_contract import VrataContract


class Processor(Protocol):
    """The processor of one middleware."""

    answers_observations: bool
    """It answers also what it is only to watch."""

    def open(
        self, owner: ChannelOwner, request: ClientRequest, settings: PlaceSettings, *, observed: bool = False
    ) -> Channel:
        """Return a way to it for the transaction of *request*; *observed*: nothing that it says is acted on."""
        ...


class GrpcProcessor:
    """Implements :class:`Processor` by streams."""

    def __init__(self, service: GrpcService, *, answers_observations: bool) -> None:
        self._service = service
        self.answers_observations = answers_observations

    def __repr__(self) -> str:
        return f"<GrpcProcessor {self._service.destination_id}>"

    def open(
        self, owner: ChannelOwner, request: ClientRequest, settings: PlaceSettings, *, observed: bool = False
    ) -> Channel:
        """Return one stream's channel."""
        is_answered = self.answers_observations or not observed
        return GrpcChannel(owner, self._service, request, settings, is_answered=is_answered)


class HttpProcessor:
    """Implements :class:`Processor` by calls of HTTP."""

    def __init__(self, services: Services, destination_id: str) -> None:
        self._services = services
        self._destination_id = destination_id
        self.answers_observations = True

    def __repr__(self) -> str:
        return f"<HttpProcessor {self._destination_id}>"

    def open(
        self, owner: ChannelOwner, request: ClientRequest, settings: PlaceSettings, *, observed: bool = False
    ) -> Channel:
        """Return a channel that makes calls."""
        return HttpChannel(owner, self._services, self._destination_id, request, settings)


def processor_of(settings: ExtProc, services: Services) -> Processor:
    """Return the processor that *settings* name."""
    destination_id = settings.destination_id
    if settings.mode == "http":
        return HttpProcessor(services, destination_id)
    if settings.contract == "envoy":
        service = GrpcService(services, destination_id, EnvoyContract(), ENVOY_METHOD, may_leave=True)
        return GrpcProcessor(service, answers_observations=False)
    service = GrpcService(services, destination_id, VrataContract(), VRATA_METHOD, may_leave=False)
    return GrpcProcessor(service, answers_observations=True)
