"""The benchmark of lists runs, on few enough runs to be no benchmark."""

from __future__ import annotations

from benchmarks.visibility import questions, visibility


def test_every_question_is_asked_and_finds_what_it_names() -> None:
    figures = visibility(runs=2000)

    found = {answer["what"]: answer["found"] for answer in figures["questions"]}
    assert len(found) == len(questions(2000))
    assert found["count"] == found["count by status"] == found["count of the value all runs have"] == 2000
    assert found["Keyword with 5 hits"] > 0
    assert found["type and a status it never has"] == found["no match: type"] == 0
    assert found["page 2"] == 100
