"""Ports that a server listens on."""

from __future__ import annotations

import socket


class PortUnavailable(Exception):
    """The address cannot be bound; the text says which and why."""


def check_port_free(ip: str, port: int) -> None:
    """Raises PortUnavailable, with the system's reason, when `port` cannot be bound now."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Launchers leave the port they chose in TIME_WAIT, which must not count as busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
            # Linux lets two sockets bind with SO_REUSEADDR while neither listens.
            probe.listen(1)
        except OSError as error:
            raise PortUnavailable(f"listen tcp {ip}:{port}: bind: {(error.strerror or str(error)).lower()}") from error
