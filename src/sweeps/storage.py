"""The Optuna storage shared by several searches, ``hydra.sweeper.storage``; checked before a sweep writes anything."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import ConfigError, not_installed
from src.training.run import say

if TYPE_CHECKING:
    import sqlalchemy

# Timeout of the database, in seconds.
_PATIENCE_S = 15
# Packages of the database drivers, by the module that SQLAlchemy imports.
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


def check_storage(address: str) -> None:
    """Check that a storage can be reached and written to; Optuna's tables are created if they do not exist.

    Args:
        address: a database URL, which may contain a password; no message shows it.

    Raises:
        ConfigError: the address is not a URL, the driver is not installed, or the connection times out or is rejected.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = sqlalchemy.make_url(address)
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except NoSuchModuleError as error:  # a subclass of ArgumentError
        raise ConfigError(
            f"{_shown(url)}: there is no database {url.drivername!r}; Optuna keeps studies in postgresql, mysql and sqlite."
        ) from error
    except (ArgumentError, ValueError) as error:  # the message may contain the password
        kind = address.partition("://")[0]
        raise ConfigError(
            f"hydra.sweeper.storage={kind}://... cannot be read: write {kind}://user:password@host:port/database, with "
            "characters such as @ : / in the password percent-encoded."
        ) from error
    except ImportError as error:
        driver = error.name or dialect.driver
        raise ConfigError(
            not_installed(_shown(url), driver, f"'{_PACKAGES.get(driver, driver)}'", extra=False)
        ) from error
    if url.get_backend_name() == "sqlite":
        _check_file(url)
    _connect(address, url)


def _check_file(url: "sqlalchemy.URL") -> None:
    if url.database in (None, "", ":memory:"):
        raise ConfigError(f"{_shown(url)} is in memory, where jobs cannot see it: leave it out, or name a file.")
    path = Path((url.database or "").removeprefix("file:"))  # a URI, if uri=true
    if not path.is_absolute():
        raise ConfigError(
            f"{_shown(url)} depends on the current directory, and a resume from another would not find it: write "
            f"sqlite:///{path.absolute()}."
        )
    if not path.parent.is_dir():
        raise ConfigError(f"{_shown(url)}: there is no directory {path.parent}: create it, or name another.")
    if path.is_dir():
        raise ConfigError(f"{_shown(url)} is a directory: name a file.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{_shown(url)} cannot be written: name a file in a directory of yours.")


def _connect(address: str, url: "sqlalchemy.URL") -> None:
    """Open the storage as the search does, in a thread that is abandoned if the database does not respond."""
    from optuna.storages import RDBStorage

    failed: list[Exception] = []

    def connect() -> None:
        try:
            storage = RDBStorage(address)
            storage.remove_session()
            storage.engine.dispose()
        except Exception as error:  # of the driver, of SQLAlchemy or of Optuna
            failed.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    if thread.is_alive():
        raise ConfigError(f"{_shown(url)} does not answer within {_PATIENCE_S} s: check the host and the port.")
    if failed:
        text = reason(failed[0])
        if url.password:
            text = text.replace(str(url.password), "***")
        raise ConfigError(
            f"{_shown(url)} cannot be used ({text}): check its address, user, password and rights."
        ) from failed[0]


@contextmanager
def report_lost_storage() -> Iterator[None]:
    """Convert storage errors into a message that the search can be resumed."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        say(f"the search has lost its storage ({reason(error)}): resume the sweep once the storage is back.")


def reason(error: BaseException) -> str:
    """The database's error message on one line, without the wrapping by SQLAlchemy and Optuna."""
    while (cause := getattr(error, "orig", None) or error.__cause__) is not None:
        error = cause
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _shown(url: "sqlalchemy.URL") -> str:
    return f"hydra.sweeper.storage={url.render_as_string(hide_password=True)}"
