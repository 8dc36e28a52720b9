"""Checks, before anything is measured, that a proxy does what the workload means."""

from __future__ import annotations

import http.client
import ssl

from bench.comparison.program import UnavailableError
from bench.comparison.proxies.proxy import Proxy
from bench.comparison.workload import Workload
from tests.support import http2_frames
from tests.support.http2_peer import Http2Peer


def check(proxy: Proxy, workload: Workload) -> None:
    """Request the first and the last path once.

    Raises :class:`UnavailableError` when an answer is not as it should be.
    """
    paths = workload.paths()
    for path in {paths[0], paths[-1]}:
        status, body = _fetch(proxy, workload.method, path, workload.content)
        if status != 200 or body != workload.answer:
            raise UnavailableError(
                f"{workload.method} {path} was answered with {status} and {len(body)} bytes: {body[:200]!r}"
            )


def forwarded_differences(proxy: Proxy) -> list[str]:
    """How the X-Forwarded fields that reach the backend differ from what they are to be.

    Only for a site with the catch-all route and the backend of HTTP/1.1; the fields depend on neither.
    """
    status, body = _fetch(proxy, "GET", "/forwarded", b"")
    if status != 200:
        raise UnavailableError(f"GET /forwarded was answered with {status}")
    seen = dict(line.split("=", 1) for line in body.decode("latin-1").splitlines())
    differences = [
        f"{proxy.name} sends X-Forwarded-{name.capitalize()} {seen.get(name, '')!r} instead of {value!r}"
        for name, value in {"proto": proxy.setup.site.scheme, "host": f"127.0.0.1:{proxy.port}"}.items()
        if seen.get(name) != value
    ]
    # Any address will do: for a client on loopback Envoy names the machine's own.
    if not seen.get("for"):
        differences.append(f"{proxy.name} sends no X-Forwarded-For")
    return differences


def _fetch(proxy: Proxy, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    if proxy.setup.site.http2:
        return _fetch_http2(proxy, method, path, body)
    connection: http.client.HTTPConnection
    if proxy.setup.site.tls:
        context = ssl.create_default_context(cafile=str(proxy.setup.certificate.chain))
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    try:
        connection.request(method, path, body or None)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{method} {path} got no answer: {error!r}") from error
    finally:
        connection.close()


def _fetch_http2(proxy: Proxy, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    site = proxy.setup.site
    context = None
    if site.tls:
        context = ssl.create_default_context(cafile=str(proxy.setup.certificate.chain))
        context.set_alpn_protocols(["h2"])
    fields = [(":method", method), (":scheme", site.scheme), (":authority", f"127.0.0.1:{proxy.port}"), (":path", path)]
    if site.grpc:
        fields += [("content-type", "application/grpc"), ("te", "trailers")]
    try:
        with Http2Peer.connect(proxy.port, tls=context, name="127.0.0.1") as client:
            client.start()
            client.head(1, fields, end=not body)
            if body:
                client.send(http2_frames.data(1, body, end=True))
            message = client.await_message(1)
    except (OSError, AssertionError) as error:
        raise UnavailableError(f"{method} {path} got no answer: {error!r}") from error
    if site.grpc and dict(message.trailers).get(b"grpc-status") != b"0":
        raise UnavailableError(f"{method} {path} was answered with the trailers {message.trailers}")
    return message.status, message.content
