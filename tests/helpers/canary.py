"""Must never be imported: whoever runs what a configuration names would."""


def sing(*_: object) -> None:
    raise AssertionError("something hostile was called")
