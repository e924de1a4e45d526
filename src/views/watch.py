"""The live terminal view of runs: a table of them, and the selected one in detail, with Textual."""

import asyncio
import dataclasses
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Static

from src.views.monitor import FILTERS, ORDERS, Frame, Monitor, View

# Seconds between two frames.
_INTERVAL_S = 1.0
_TABLE_KEYS = "up/down select  enter inspect  s sort  f filter  ? help  q quit"
_DETAIL_KEYS = "up/down scroll  escape back  ? help  q quit"
_HELP = """\
up, down      select a run; page up, page down, home and end, too
enter         inspect the selected run: settings, metrics, curves, log
escape        back to the table
s             sort: {orders}
f             filter: {filters}
              (failed includes interrupted runs)
?             this help
q, Ctrl-C     quit

The view only reads files; runs continue when it ends.""".format(orders=", ".join(ORDERS), filters=", ".join(FILTERS))


class _Help(Screen[None]):
    """The keys; any of them closes it."""

    BINDINGS: ClassVar = [Binding("escape,enter,question_mark", "app.pop_screen", "back")]

    def compose(self) -> ComposeResult:
        yield Static(_HELP, markup=False, id="help")


class _Details(Screen[None]):
    """A run in detail."""

    BINDINGS: ClassVar = [Binding("escape", "app.leave", "back")]
    AUTO_FOCUS = "#scroll"

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="scroll"):
            yield Static("reading ...", id="details")
        yield Static(_DETAIL_KEYS, classes="keys")


class Watch(App[int]):
    """The live view; returns the exit status, 128 and the number of the signal after one.

    Args:
        monitor: makes the frames, in a thread.
        inspected: directory of the run to inspect first; by default the table is shown.
    """

    ENABLE_COMMAND_PALETTE = False
    # The terminal's own colours, none with NO_COLOR. The selected row is reversed, which needs no colour.
    CSS = """
    * { background: ansi_default; color: ansi_default; scrollbar-size: 0 0; }
    Screen { layout: vertical; }
    #heading, #state, .keys { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #heading { text-style: bold; }
    #scroll, DataTable { height: 1fr; }
    DataTable > .datatable--header { text-style: bold; background: ansi_default; }
    DataTable > .datatable--cursor { text-style: reverse; background: ansi_default; color: ansi_default; }
    _Help { align: center middle; }
    #help { width: auto; max-width: 100%; height: auto; border: ascii ansi_default; padding: 0 1; }
    """
    BINDINGS: ClassVar = [
        Binding("s", "order", "sort"),
        Binding("f", "filter", "filter"),
        Binding("question_mark", "help", "help"),
        Binding("q", "exit(0)", "quit"),
        Binding("ctrl+c", "exit(130)", "quit", priority=True),
    ]

    def __init__(self, monitor: Monitor, inspected: str | None = None) -> None:
        super().__init__(ansi_color=True)
        self.view = View(inspected=inspected)
        self._monitor = monitor
        self._changed = asyncio.Event()
        self._columns: Sequence[tuple[str, int]] = []
        self._cells: dict[str, Sequence[Text]] = {}  # as displayed, by directory

    def compose(self) -> ComposeResult:
        """Two lines of text, the table, and a line with the keys."""
        yield Static("reading ...", id="heading", markup=False)
        yield Static("", id="state", markup=False)
        yield DataTable(cursor_type="row", cell_padding=0, id="table")
        yield Static(_TABLE_KEYS, classes="keys")

    def on_mount(self) -> None:
        """Handle signals, and start to refresh."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, 128 + number)
        self._set(width=self.size.width)
        if self.view.inspected:
            self.push_screen(_Details())
        self.run_worker(self._refresh())

    def on_resize(self) -> None:
        """Fit the table into the new width."""
        self._set(width=self.size.width)

    async def _refresh(self) -> None:
        """Display frames, which are made in a thread, at intervals, and at once if something else is to be displayed."""
        while True:
            self._changed.clear()
            view = self.view
            frame = await asyncio.to_thread(self._monitor.frame, view)
            if view == self.view:
                self._show(frame)
            if not frame.pending:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _INTERVAL_S)

    def _set(self, **values: Any) -> None:
        self.view = dataclasses.replace(self.view, **values)
        self._changed.set()

    def _show(self, frame: Frame) -> None:
        if frame.details is not None:
            for screen in self.screen_stack:
                if isinstance(screen, _Details):
                    screen.query_one("#details", Static).update(frame.details)
            return
        main = self.screen_stack[0]
        for name, line in (("#heading", frame.heading), ("#state", frame.state)):
            if (static := main.query_one(name, Static)).content != line:
                static.update(line)
        table: DataTable[Text] = main.query_one(DataTable)
        rows = dict(frame.rows)
        if list(frame.columns) != self._columns or list(rows) != list(self._cells):
            self._rebuild(table, frame)
        else:
            for directory, cells in rows.items():
                for number, (cell, before) in enumerate(zip(cells, self._cells[directory], strict=True)):
                    if cell != before:
                        table.update_cell(directory, str(number), cell)
        self._columns, self._cells = list(frame.columns), rows

    def _rebuild(self, table: "DataTable[Text]", frame: Frame) -> None:
        """Replace columns and rows; the selected run remains selected if it is still there."""
        selected, row, top = self._selected(table), table.cursor_row, table.scroll_offset.y
        table.clear(columns=True)
        for number, (heading, width) in enumerate(frame.columns):
            gap = 0 if number == len(frame.columns) - 1 else 2
            table.add_column(heading, width=width + gap, key=str(number))
        for directory, cells in frame.rows:
            table.add_row(*cells, key=directory)
        directories = [directory for directory, _ in frame.rows]
        row = directories.index(selected) if selected in directories else min(row, len(directories) - 1)
        table.move_cursor(row=max(0, row), scroll=False)
        table.scroll_to(y=top, animate=False)

    def _selected(self, table: "DataTable[Text]") -> str | None:
        directories = list(self._cells)
        return directories[table.cursor_row] if 0 <= table.cursor_row < len(directories) else None

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Inspect the run."""
        self._set(inspected=event.row_key.value)
        self.push_screen(_Details())

    def action_leave(self) -> None:
        """Return to the table."""
        self._set(inspected=None)
        self.pop_screen()

    def action_order(self) -> None:
        """Sort by the next of the orders."""
        self._set(order=_next(ORDERS, self.view.order))

    def action_filter(self) -> None:
        """Show the runs of the next of the filters."""
        self._set(filter=_next([*FILTERS], self.view.filter))

    def action_help(self) -> None:
        """Show the keys."""
        if not isinstance(self.screen, _Help):
            self.push_screen(_Help())

    def action_exit(self, status: int) -> None:
        """Quit."""
        self.exit(status)


def _next(values: Sequence[str], value: str) -> str:
    return values[(values.index(value) + 1) % len(values)]
