"""Messages that do not count any more."""

from sidecar.directory.voids import MAX_VOID, Voids


def test_deletions_of_nothing_take_bounded_memory_and_the_latest_are_remembered() -> None:
    voids = Voids()

    for n in range(6 * MAX_VOID):
        voids.delete(n, by=10 * MAX_VOID + n, username="bob")
        voids.edit(n)

    remembered = [n for n in range(6 * MAX_VOID) if voids.deleted_by(n, "bob", {}) is not None]
    assert MAX_VOID <= len(remembered) <= 2 * MAX_VOID
    assert remembered[-1] == 6 * MAX_VOID - 1
    assert [n for n in range(6 * MAX_VOID) if voids.edited(n)] == remembered
