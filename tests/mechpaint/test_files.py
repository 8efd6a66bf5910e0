"""Files are whole or not there, have the mode that the umask gives, and are no leftovers while they are written."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from mechpaint.errors import CannotWrite
from mechpaint.files import remove_leftovers, write_text, written, written_folder


@pytest.fixture
def umask():
    before = os.umask(0)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o077, 0o002, 0o022, 0o027])
def test_files_follow_the_umask(tmp_path, umask, mask):
    umask(mask)
    write_text(tmp_path / "a", "x")
    with written_folder(tmp_path / "folder") as scratch:
        (scratch / "b").write_text("x")
        (scratch / "inner").mkdir()
        (scratch / "inner" / "c").write_text("x")
        (scratch / "b").chmod(0o600)  # as some libraries leave their files
    for path in (tmp_path / "a", tmp_path / "folder" / "b", tmp_path / "folder" / "inner" / "c"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


def _long_ago(path):
    os.utime(path, (time.time() - 7200,) * 2)


def test_what_is_being_written_is_no_leftover_whatever_the_clock_says(tmp_path):
    with written(tmp_path / "a") as scratch:
        scratch.write_text("x")
        _long_ago(scratch)
        remove_leftovers(tmp_path)
        assert scratch.read_text() == "x"
    assert (tmp_path / "a").read_text() == "x"


def _write(path, begun, end):
    with written(path) as scratch:
        scratch.write_text("x")
        _long_ago(scratch)
        begun.set()
        end.wait(20)


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "at work"])
def test_another_process_s_file_goes_only_when_that_process_is_gone(tmp_path, killed):
    context = multiprocessing.get_context("fork")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=_write, args=(tmp_path / "a", begun, end))
    process.start()
    assert begun.wait(20)
    if killed:
        process.kill()
        process.join()
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == (0 if killed else 1)
    if not killed:  # nobody waits for it otherwise
        end.set()
        process.join()
    assert (tmp_path / "a").exists() == (not killed)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000])
def test_a_name_that_is_too_long_is_no_folder_and_no_file(tmp_path, name):
    from mechpaint.files import is_file, is_folder

    assert not is_file(tmp_path / name)
    assert not is_folder(tmp_path / name)
    remove_leftovers(tmp_path / name)
    with pytest.raises(CannotWrite, match="cannot write"):
        write_text(tmp_path / name / "a", "x")
