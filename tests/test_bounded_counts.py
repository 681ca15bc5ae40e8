from sidecar.bounded_counts import LONGEST, OTHERS, BoundedCounts


def test_the_first_names_are_counted_each_and_the_rest_together():
    counts = BoundedCounts(2)
    assert [counts.count(name) for name in ("a", "b", "b", "c", "x" * (LONGEST + 1), "a", "b")] == [
        True,
        True,
        False,
        False,
        False,
        False,
        False,
    ]
    assert counts.most_common() == {"b": 3, OTHERS: 2, "a": 2}
