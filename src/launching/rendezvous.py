"""Where the ranks of one machine meet.

Of torch's own ways, one waits up to 0.3 s for fear of a crowd, the other wants to be told a free port, and both listen to
the whole network.
"""

import socket

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # not in its __all__
from torch.distributed.elastic.rendezvous import (
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

BACKEND = "this-machine"
_HOST = "127.0.0.1"


class _ThisMachine(StaticTCPRendezvous):
    """A store on a free port of the loopback interface."""

    def get_backend(self) -> str:
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        if self._store is None:
            with socket.create_server((_HOST, 0)) as server:
                self.master_port = server.getsockname()[1]
                self._store = TCPStore(
                    _HOST,
                    self.master_port,
                    is_master=True,
                    wait_for_workers=False,
                    timeout=self.timeout,
                    multi_tenant=True,
                    master_listen_fd=server.detach(),
                )
        meeting = RendezvousStoreInfo(_HOST, self.master_port)
        return RendezvousInfo(PrefixStore(self.run_id, self._store), self.rank, self.world_size, meeting)


def _make(parameters: RendezvousParameters) -> _ThisMachine:
    return _ThisMachine(_HOST, 0, rank=0, world_size=1, run_id=parameters.run_id, timeout=600)


rendezvous_handler_registry.register(BACKEND, _make)
