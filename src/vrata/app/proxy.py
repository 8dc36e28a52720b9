"""The proxy as a process: fork server, supervisor, sync, and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial
from importlib import import_module

import structlog

from vrata.app.admin_port import AdminPort
from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.app.stop_request import StopRequest
from vrata.config import Settings
from vrata.net import descriptors
from vrata.net.event_loop import new_event_loop
from vrata.net.listening import ListenError, listen
from vrata.observability import logging, process
from vrata.observability.tasks import TaskSupervisor

_log = structlog.get_logger("vrata.proxy")


def run(settings: Settings, *, local: bool = False) -> int:
    """Run a proxy until it is asked to stop, and return the exit code. Its fork server may have been started already.

    *local*: the control plane is the one that *settings* describe, on this machine.
    """
    process.set_name("vrata-proxy")
    logging.configure(settings.log.format, settings.log.level)
    descriptors.raise_limit()  # probes that hang hold one each
    try:
        sockets = [] if settings.proxy.admin is None else listen(settings.proxy.admin)
    except ListenError as error:
        sys.stderr.write(f"vrata: proxy.admin.address: {error}\n")
        return EXIT_UNUSABLE
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_run(settings, local, sockets))


async def _run(settings: Settings, local: bool, admin: list[socket.socket]) -> int:
    from vrata.discovery.dns import DnsDiscovery
    from vrata.net.resolver import Resolver
    from vrata.proxy.redis.settings import RedisSettings
    from vrata.proxy.supervisor.supervisor import Supervisor, SupervisorSettings
    from vrata.proxy.worker import WorkerSettings, build_data_plane

    store = settings.session_store
    worker = WorkerSettings(
        slot=0,
        drain_timeout=settings.proxy.drain_timeout,
        data_plane=partial(
            build_data_plane,
            cel_body_max_size=settings.proxy.cel_body_max_size,
            name_servers=settings.proxy.name_servers,
            python_directories=settings.proxy.python_directories,
            session_store=None
            if store is None
            else RedisSettings(store.address.host, store.address.port, store.password, store.db),
        ),
        log_format=settings.log.format,
        log_level=settings.log.level,
    )
    tasks = TaskSupervisor()
    changed = asyncio.Event()
    resolver = Resolver(tasks, settings.proxy.name_servers)
    supervisor = Supervisor(
        SupervisorSettings(settings.proxy.workers, worker, settings.proxy.state_path),
        tasks,
        changed.set,
        partial(DnsDiscovery, resolver),
        resolver,
    )
    drain_timeout = settings.proxy.drain_timeout

    def renew() -> None:
        supervisor.reopen_logs()  # the workers that are replaced write on until their last request is answered
        tasks.start(supervisor.replace_workers(drain_timeout), name="replace workers")

    stop = StopRequest(on_insist=supervisor.kill, on_hangup=renew, on_rotation=supervisor.reopen_logs)
    supervisor.start()

    # The cached snapshot comes first, the control plane second: what that needs is imported beside the loop.
    for name in ("vrata.app.control_plane_link", "vrata.proxy.sync.acknowledgement", "vrata.proxy.sync.stream"):
        await asyncio.to_thread(import_module, name)
    from vrata.app.control_plane_link import link_to
    from vrata.proxy.sync.acknowledgement import Acknowledger
    from vrata.proxy.sync.stream import SnapshotStream

    link = link_to(settings, local=local)
    acknowledger = Acknowledger(link, supervisor.status, changed)
    stream = SnapshotStream(link, settings.proxy.reconnect_interval, supervisor.submit, changed.set)
    streaming = tasks.start(stream.run(), name="snapshot stream")
    tasks.start(acknowledger.run(), name="acknowledgements")
    admin_port = AdminPort(admin, tasks) if admin else None
    if admin_port is not None:
        await admin_port.open(supervisor, stream)

    await stop.wait()
    _log.info("draining", timeout=drain_timeout)
    streaming.cancel()
    await supervisor.drain(drain_timeout)
    # Last, so that whoever balances traffic can see the drain.
    if admin_port is not None:
        await admin_port.close()
    await tasks.stop()
    _log.info("proxy stopped")
    return 0
