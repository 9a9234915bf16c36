from schemas.quarantine import CLAUSE_OF_FAULT, CLEAR, ENVELOPE, ROWS, stage_of
from transforms.verdict import REASONS


def test_every_reason_has_a_clause():
    assert set(CLAUSE_OF_FAULT) == {reason.value for reason in REASONS}


def test_faults_of_identifiers_are_found_while_sealing_all_others_before():
    assert {reason for reason in CLAUSE_OF_FAULT if stage_of(reason) == "seal"} == {"bad_event_id", "bad_subject"}
    assert {stage_of(reason) for reason in CLAUSE_OF_FAULT} == {"decode", "seal"}


def test_nothing_that_a_line_brought_stands_in_the_clear():
    """A column that is added here must be thought about: what it may tell of a person."""
    clear = ["input", "stage", "reason", "clause", "hour", "state", "lines", "row_id", "bytes", "key_id"]
    assert CLEAR.names == clear
    assert ROWS.names[-len(ENVELOPE) :] == ENVELOPE.names
