"""Write the events of a run as lines of JSON."""

from typing import TextIO

from pipeline.events import Event, as_json


class JsonLines:
    """Writes each event as one line of JSON, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def notify(self, event: Event) -> None:
        """Write the event."""
        self._stream.write(as_json(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every event is written at once."""
