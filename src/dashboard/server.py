"""TensorBoard's server, which opens pages with useful settings."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tensorboard.program import TensorBoardServer, create_port_scanning_werkzeug_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Curves as they were logged, which TensorBoard would smooth, and one color for the seeds and the mean of a configuration.
# Runs that differ in nothing else are called ``seed 1 001``, and their mean ``all mean of 3``.
COLOR_GROUP = r"^(?:all(?= mean of ))?(.*?)(?:(?:^| )seed .*| mean of .*)?$"
_SETTINGS = {"smoothing": "0", "runColorGroup": f"regex:{COLOR_GROUP}"}


def make_server(app: "WSGIApplication", flags: Namespace) -> TensorBoardServer:
    """A server of TensorBoard's application, for ``tensorboard.program.TensorBoard``.

    An address without settings is redirected to one with the default settings, which can be changed on the page.
    """

    def with_settings(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/" and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", f"/?{urlencode(_SETTINGS)}")])
            return []
        return app(environ, start_response)

    return create_port_scanning_werkzeug_server(with_settings, flags)
