"""The measure of unseen mistakes: what stands in the museum's README is what the record says."""

from rlspec.mutants import BEGIN, END, README, SURVIVORS, recorded, table


def test_the_table_is_that_of_the_record():
    text = README.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table(recorded()).strip()


def test_every_survivor_has_a_reason():
    assert not [row.mutant for row in recorded() if row.state in SURVIVORS and not row.reason]
