"""Dead letters are durable before the pages of their records are."""

from __future__ import annotations

from pathlib import Path

from detector.dead_letters.file import DeadLetterFile
from detector.dead_letters.places import DeadLetterPlaces, LettersFirst
from detector.events import Partition
from detector.notify.labels import Labelling
from tests.fakes import MemoryStore
from tests.unit.detector.recovery.pages import page


class Order(DeadLetterPlaces):
    """Looks at the store at each sync."""

    def __init__(self, path: Path, store: MemoryStore) -> None:
        file = DeadLetterFile(path / "letters.ndjson", 1 << 20, Labelling())
        super().__init__(file, None)
        self._store = store
        self.written_before: list[bool] = []

    def sync(self) -> None:
        self.written_before.append(bool(self._store.pages))
        super().sync()


def test_letters_are_synced_before_the_pages_are_written(tmp_path: Path) -> None:
    store = MemoryStore()
    letters = Order(tmp_path, store)
    LettersFirst(store, letters).write_pages(Partition("metrics", 0), [page(0, 1)])
    letters.close()
    assert letters.written_before == [False]
    assert store.pages
