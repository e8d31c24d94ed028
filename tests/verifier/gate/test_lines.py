import contextlib
import os
import select
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.gate.lines import MAX_LINE_BYTES, EndOfInput, LineReader, open_device, quiet_terminal

WAIT_S = 20.0


class Pipe:
    """A pipe with a reader of its lines at one end."""

    def __init__(self, *, silence_s: float | None = None) -> None:
        self.read_end, self.write_end = os.pipe()
        self.wake, self.wake_write_end = os.pipe()
        self.lines = LineReader(self.read_end, wake=self.wake, silence_s=silence_s)

    def write(self, data: bytes) -> None:
        os.write(self.write_end, data)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1

    def close(self) -> None:
        for descriptor in (self.read_end, self.write_end, self.wake, self.wake_write_end):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def all_lines(chunks: list[bytes]) -> list[bytes]:
    pipe = Pipe()
    lines = []
    for chunk in chunks:
        pipe.write(chunk)
        while (line := pipe.lines.read(0)) is not None:
            lines.append(line)
    pipe.end()
    with contextlib.suppress(EndOfInput):
        while (line := pipe.lines.read(WAIT_S)) is not None:
            lines.append(line)
    pipe.close()
    return lines


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\r\n"])
def test_a_line_ends_as_the_scanner_likes(end: bytes) -> None:
    assert all_lines([b"GL1:ONE" + end + b"GL1:TWO" + end]) == [b"GL1:ONE", b"GL1:TWO"]


def test_a_last_line_needs_no_end() -> None:
    assert all_lines([b"GL1:ONE\nGL1:TWO"]) == [b"GL1:ONE", b"GL1:TWO"]


def test_spaces_are_part_of_a_code() -> None:
    assert all_lines([b" GL1: \n"]) == [b" GL1: "]


def test_a_line_of_any_bytes_is_a_line() -> None:
    every_byte = bytes(byte for byte in range(256) if byte not in b"\r\n")
    assert all_lines([every_byte + b"\n"]) == [every_byte]


@pytest.mark.parametrize("length", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 60_000])
def test_what_is_overlong_is_cut_and_swallowed_to_its_end(length: int) -> None:
    expected = [b"x" * min(length, MAX_LINE_BYTES), b"GL1:NEXT"]
    assert all_lines([b"x" * length + b"\nGL1:NEXT\n"]) == expected


def test_an_endless_line_takes_no_memory(pipe: Pipe) -> None:
    for _ in range(100):
        pipe.write(b"x" * 60_000)
        assert pipe.lines.read(0) is None
    assert len(pipe.lines._unfinished) == MAX_LINE_BYTES


@given(st.lists(st.binary(max_size=50) | st.sampled_from([b"\r", b"\n", b"\r\n"]), max_size=20))
def test_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert all_lines([chunk for chunk in chunks if chunk]) == [
        line for line in whole.replace(b"\r", b"\n").split(b"\n") if line
    ]


def test_a_wait_ends_in_time(pipe: Pipe) -> None:
    pipe.write(b"GL1:UNFINISHED")
    assert pipe.lines.read(0.01) is None


def test_a_wait_ends_when_woken(pipe: Pipe) -> None:
    os.write(pipe.wake_write_end, b"!")
    assert pipe.lines.read(None) is None


def test_an_unfinished_line_of_a_program_is_waited_for(pipe: Pipe) -> None:
    pipe.write(b"GL1:ON")
    assert pipe.lines.read(0.05) is None
    pipe.write(b"E\n")
    assert pipe.lines.read(WAIT_S) == b"GL1:ONE"


def test_a_scanner_that_sends_no_end_is_understood_after_its_silence() -> None:
    pipe = Pipe(silence_s=0.01)
    pipe.write(b"GL1:ONE")
    assert pipe.lines.read(WAIT_S) == b"GL1:ONE"
    pipe.close()


def test_silence_counts_on_through_other_waits() -> None:
    pipe = Pipe(silence_s=0.03)
    pipe.write(b"GL1:ONE")
    lines = (pipe.lines.read(0.001) for _ in range(10_000))
    assert next(line for line in lines if line is not None) == b"GL1:ONE"
    pipe.close()


def test_lines_that_wait_are_taken_without_the_one_that_is_being_typed(pipe: Pipe) -> None:
    pipe.write(b"GL1:ONE\nGL1:TWO\nGL1:TH")
    assert pipe.lines.read(WAIT_S) == b"GL1:ONE"
    assert pipe.lines.waiting() == [b"GL1:TWO"]
    pipe.write(b"REE\n")
    assert pipe.lines.read(WAIT_S) == b"GL1:THREE"


def test_nothing_waits_on_a_quiet_input(pipe: Pipe) -> None:
    assert pipe.lines.waiting() == []


def test_a_fifo_outlives_its_writers(tmp_path: Path, pipe: Pipe) -> None:
    path = tmp_path / "scanner"
    os.mkfifo(path)
    with open_device(path) as descriptor:
        lines = LineReader(descriptor, wake=pipe.wake)
        for text in (b"GL1:ONE", b"GL1:TWO"):
            path.write_bytes(text + b"\n")
            assert lines.read(WAIT_S) == text
        assert lines.read(0) is None


def test_a_file_ends(tmp_path: Path, pipe: Pipe) -> None:
    path = tmp_path / "codes"
    path.write_bytes(b"GL1:ONE\n")
    with open_device(path) as descriptor:
        lines = LineReader(descriptor, wake=pipe.wake)
        assert lines.read(WAIT_S) == b"GL1:ONE"
        with pytest.raises(EndOfInput):
            lines.read(WAIT_S)


def test_a_folder_is_not_a_device(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), open_device(tmp_path):
        pass


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The hand's end and the program's end of a terminal."""
    hand, program = os.openpty()
    yield hand, program
    os.close(hand)
    os.close(program)


def test_a_quiet_terminal_repeats_nothing_and_hands_every_byte_on(
    terminal: tuple[int, int], pipe: Pipe
) -> None:
    hand, program = terminal
    with quiet_terminal(program):
        lines = LineReader(program, wake=pipe.wake)
        # What would erase, end the input, stop the output, quit, suspend or quote in a usual terminal.
        keys = b"GL1:\x7f\x08\x15\x17\x04\x13\x11\x1c\x1a\x16\x0f\x12 ONE"
        os.write(hand, keys + b"\r")
        assert lines.read(WAIT_S) == keys
        os.set_blocking(hand, False)
        with pytest.raises(BlockingIOError):
            os.read(hand, 1)


def test_a_quiet_terminal_is_restored_and_keeps_no_scan_for_the_shell(terminal: tuple[int, int]) -> None:
    hand, program = terminal
    before = termios.tcgetattr(program)
    with quiet_terminal(program):
        assert termios.tcgetattr(program) != before
        os.write(hand, b"GL1:UNREAD\n")
        assert select.select([program], [], [], WAIT_S)[0]
    assert termios.tcgetattr(program) == before
    os.set_blocking(program, False)
    with pytest.raises(BlockingIOError):
        os.read(program, 1)


def test_a_terminal_that_is_closed_is_the_end_of_input(pipe: Pipe) -> None:
    hand, program = os.openpty()
    closing = threading.Timer(0.01, os.close, [hand])
    closing.start()
    with quiet_terminal(program), pytest.raises(EndOfInput):
        LineReader(program, wake=pipe.wake).read(None)
    closing.join()
    os.close(program)


def test_what_is_no_terminal_is_left_alone(pipe: Pipe) -> None:
    with quiet_terminal(pipe.read_end):
        pipe.write(b"GL1:ONE\n")
    assert pipe.lines.read(WAIT_S) == b"GL1:ONE"
