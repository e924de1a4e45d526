"""Robust standard output and standard error: any text can be written, and training does not depend on a reader."""

import io
import logging
import os
import sys

log = logging.getLogger(__name__)


def accept_any_text() -> None:
    """Escape characters that the output's encoding lacks, as in ``PYTHONIOENCODING=latin-1``, instead of raising.

    An output that the parent process closed is /dev/null.
    """
    _open_standard_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def survive_closed_output() -> None:
    """Discard output once it cannot be written, instead of raising. Safe to call again.

    If the reader of a pipe exits (``| head -1``), a terminal is closed or a disk is full, training continues, and its output
    is in the run's log.
    """
    accept_any_text()
    for name in ("stdout", "stderr"):
        if type(stream := getattr(sys, name)) is io.TextIOWrapper:
            setattr(sys, name, _Output(stream))


def _open_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if the parent closed them, or the next opened file would become standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


class _Output(io.TextIOWrapper):
    """A text stream that discards output that cannot be written.

    Args:
        stream: the stream whose buffer is written to; it stays open.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        stream.flush()
        self._stream = stream  # which would close the buffer when it is garbage-collected
        super().__init__(
            stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering
        )

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        log.info("the output cannot be written (%s): it is discarded from here on", error.strerror)
