"""Open rasters that threads share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from processor.geotiff.gdal import GdalReader
from processor.geotiff.handles import HandlePool


class Files:
    """Stands for GDAL: counts what is open."""

    def __init__(self) -> None:
        self.open_now: set[object] = set()
        self.opened: list[tuple[str, int | None]] = []

    def open(self, href: str, scene: str, factor: int | None = None) -> Any:
        del scene
        handle = object()
        self.open_now.add(handle)
        self.opened.append((href, factor))
        return handle

    def close(self, handle: object) -> None:
        self.open_now.remove(handle)


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def pool(files: Files) -> HandlePool:
    return HandlePool(cast("GdalReader", files))


def test_a_file_is_opened_once_however_often_and_from_whatever_thread_it_is_read(files: Files, pool: HandlePool) -> None:
    def read(_: int) -> None:
        with pool.borrow("a.tif", "a"):
            pass

    for number in range(4):  # threads come and go with each pass
        thread = threading.Thread(target=read, args=(number,))
        thread.start()
        thread.join()
    assert files.opened == [("a.tif", None)]


def test_two_at_once_have_a_handle_each_and_an_overview_has_its_own(files: Files, pool: HandlePool) -> None:
    with pool.borrow("a.tif", "a") as one, pool.borrow("a.tif", "a") as other, pool.borrow("a.tif", "a", 4) as overview:
        assert len({id(one), id(other), id(overview)}) == 3
    with pool.borrow("a.tif", "a", 4) as again:
        assert again is overview
    assert files.opened == [("a.tif", None), ("a.tif", None), ("a.tif", 4)]


def test_few_files_stay_open_however_many_are_read(files: Files, pool: HandlePool) -> None:
    for number in range(100):
        with pool.borrow(f"{number}.tif", "s"):
            assert len(files.open_now) <= 5
    assert len(files.open_now) == 4
    with pool.borrow("99.tif", "s"):  # the last ones
        assert len(files.opened) == 100


def test_a_file_that_failed_is_closed_and_opened_anew(files: Files, pool: HandlePool) -> None:
    with pytest.raises(ZeroDivisionError), pool.borrow("a.tif", "a"):
        _ = 1 / 0
    assert not files.open_now
    with pool.borrow("a.tif", "a"):
        assert len(files.opened) == 2


def test_many_threads_leave_nothing_open_that_is_not_counted(files: Files, pool: HandlePool) -> None:
    def read(number: int) -> None:
        with pool.borrow(f"{number % 7}.tif", "s"):
            pass

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, range(400)))
    pool.close()
    assert not files.open_now
