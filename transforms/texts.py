"""Free text as the border lets it in: cut and scrubbed within the pack's limits."""

import pyarrow as pa

from schemas.policy import Limits
from transforms.scrub import Found, Scrubber


class Texts:
    """What a column of free text becomes before anything else sees it. One a worker: its automata stay warm."""

    def __init__(self, limits: Limits) -> None:
        self._scrubber = Scrubber(max_bytes=limits.text_bytes)

    def clean(self, texts: pa.StringArray) -> tuple[pa.StringArray, list[Found]]:
        """The texts without what identifies somebody, null where null, and what was found in which of them."""
        return self._scrubber.find(texts)
