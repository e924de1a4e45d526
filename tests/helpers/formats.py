"""What the tests of test_formats.py share."""

import json

from src.records.record import Record


def of_format_1(record: Record) -> Record:
    """The same record as earlier versions have written it."""
    path = record.directory / "run.json"
    content = path.read_text().replace("src.models.mlp", "src.model.mlp").replace("src.tasks.", "src.model.")
    path.write_text(json.dumps({name: value for name, value in json.loads(content).items() if name != "format"}))
    return Record.load(record.directory)
