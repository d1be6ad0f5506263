"""A server's port that can be closed and opened again, as if the server had been lost."""

import socket
from contextlib import suppress
from threading import Thread

HOST = "127.0.0.1"


class Proxy:
    """Passes on what comes to a port of its own, until it is cut."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.ends: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._end_connections()

    def turn_to(self, port: int) -> None:
        """Pass everything on to another port from now on, and end the connections that are open."""
        self.target = port
        self._end_connections()

    def _end_connections(self) -> None:
        for end in self.ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # of a listener that is closed
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((HOST, self.target))
                self.ends += [client, server]
                for pair in ((client, server), (server, client)):
                    Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)
