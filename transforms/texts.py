"""Free text as the border lets it in: cut, scrubbed, and its times made coarse, within the pack's limits."""

import pyarrow as pa

from schemas.policy import Limits
from transforms.coarse import coarsen
from transforms.scrub import Found, Scrubber


class Texts:
    """What a column of free text becomes before anything else sees it. One a worker: its automata stay warm."""

    def __init__(self, limits: Limits) -> None:
        self._scrubber, self._unit = Scrubber(max_bytes=limits.text_bytes), limits.text_time

    def clean(self, texts: pa.StringArray) -> tuple[pa.StringArray, list[Found]]:
        """The texts without what identifies somebody or singles out a run, null where null, and what was found in which
        of them."""
        scrubbed, found = self._scrubber.find(texts)
        return coarsen(scrubbed, self._unit), found
