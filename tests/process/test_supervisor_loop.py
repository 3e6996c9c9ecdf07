"""The loop with real forks and real signals, over fake programs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.limits import MB
from tests.fixtures.eventually import eventually
from tests.process.runs import Run, Start, gone


def test_term_drains_and_a_message_in_hand_is_finished(start: Start) -> None:
    """SIGTERM: nothing is killed, nobody takes more, exit 0."""
    run = start("busy")
    run.wait_for("child_ready", times=2)
    run.send(signal.SIGTERM)
    run.wait_for("child_draining", times=2, reason="shutdown")
    assert run.process.poll() is None
    run.say("finish")
    assert run.wait() == 0
    assert [line["messages"] for line in run.logged("child_exited")] == [1, 1]
    assert run.logged("child_killed") == []
    assert run.left_behind() == []


@pytest.mark.parametrize(
    "numbers", [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)]
)
def test_a_second_term_or_a_quit_stops_at_once(start: Start, numbers: tuple[signal.Signals, ...]) -> None:
    """What was in hand is accounted for by one last janitor, and no message is blamed."""
    run = start("deaf")
    run.wait_for("child_ready", times=2)
    for number in numbers:
        run.send(number)
        run.wait_for("stopping", times=numbers.index(number) + 1)
    assert run.wait() == 0
    assert sorted((row["slot"], row["cause"], row["blamed"]) for row in run.accounts()) == [
        (0, "shutdown", False),
        (1, "shutdown", False),
    ]
    assert run.left_behind() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_comes_during_the_start_is_a_stop(
    start: Start, number: signal.Signals, tmp_path: Path
) -> None:
    """Held until the loop is there to hear it: exit 0, without a child."""
    (tmp_path / "slow-start").touch()
    run = start("idle")
    held = 1 << (number - 1)
    eventually(lambda: mask_of(run.pid, "SigBlk") & held, "it holds signals")
    run.send(number)
    eventually(lambda: mask_of(run.pid, "ShdPnd") & held, "the signal waits")
    (tmp_path / "slow-start").unlink()
    assert run.wait() == 0
    assert run.logged("stopping", how="drain")
    assert run.logged("child_forked") == []


def mask_of(pid: int, which: str) -> int:
    """Return a process's signals, bit n - 1 for signal n: SigBlk are held, ShdPnd wait."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1], 16)
    return 0


def test_a_full_standard_output_holds_nobody(tmp_path: Path) -> None:
    """A pipe that nobody reads: the loop turns, children that log settle their messages, and SIGTERM is heard."""
    reader, writer = os.pipe()
    own = os.open(f"/proc/self/fd/{writer}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(own, b"\n" * 4096)
    os.close(own)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.process.fakes", "chatty", str(tmp_path)],
        env=os.environ | {"LIMITS": json.dumps({"retry_every_s": 0.2})},
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    try:
        eventually((tmp_path / "retried").exists, "the loop turns")
        for slot in range(2):
            eventually((tmp_path / f"chatted-{slot}").exists, f"child {slot} works")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_the_drain_timeout_ends_who_does_not_finish(start: Start) -> None:
    """Killed, accounted, unblamed, exit 0."""
    run = start("deaf", drain_timeout_s=0.3)
    run.wait_for("child_ready", times=2)
    run.ends_well()
    assert {row["cause"] for row in run.accounts()} == {"shutdown"}


def test_hup_replaces_all_one_by_one(start: Start) -> None:
    """Each successor is ready before its predecessor goes, and nobody else goes meanwhile."""
    run = start("idle", children=3)
    run.wait_for("child_ready", times=3)
    run.send(signal.SIGHUP)
    run.wait_for("child_exited", times=3, reason="reload")
    after = run.names("child_draining", "child_ready", "child_exited")[3:]
    assert_one_leaves_at_a_time(after)
    for slot in range(3):
        steps = [event for event, of_slot in after if of_slot == slot]
        assert steps == ["child_ready", "child_draining", "child_exited"]
    run.ends_well()


def assert_one_leaves_at_a_time(told: list[tuple[str, int]]) -> None:
    leaving = [(event, slot) for event, slot in told if event != "child_ready"]
    for draining, exited in zip(leaving[::2], leaving[1::2], strict=True):
        assert (draining[0], exited[0]) == ("child_draining", "child_exited")
        assert draining[1] == exited[1]


def test_without_room_for_a_successor_the_next_still_waits_for_the_last_one(start: Start) -> None:
    """One idle child more would not fit: each goes first, and nobody else until its successor is ready."""
    run = start("idle", children=3, room_for_successor=False)
    run.wait_for("child_ready", times=3)
    run.send(signal.SIGHUP)
    run.wait_for("child_ready", times=6)
    after = run.names("child_draining", "child_ready", "child_exited")[3:]
    steps = ("child_draining", "child_exited", "child_ready")
    assert after == [(event, slot) for slot in range(3) for event in steps]
    run.ends_well()


def test_ttin_and_ttou_add_and_take_a_child(start: Start) -> None:
    """Never below one, never beyond what was allowed."""
    run = start("idle", children=1, children_max=2)
    run.wait_for("child_ready")
    run.send(signal.SIGTTIN)
    run.wait_for("child_ready", slot=1)
    run.send(signal.SIGTTIN)
    run.wait_for("resize_refused", children=2)
    run.send(signal.SIGTTOU)
    run.wait_for("child_exited", slot=1, reason="fewer")
    run.send(signal.SIGTTOU)
    run.wait_for("resize_refused", children=1)
    assert run.children() == [run.logged("child_ready", slot=0)[0]["pid"]]
    run.ends_well()


def test_usr1_logs_the_status_of_every_child(start: Start) -> None:
    """One line each, with what it has in hand."""
    run = start("busy")
    run.wait_for("child_ready", times=2)

    def shown() -> dict[str, Any] | None:
        run.send(signal.SIGUSR1)
        lines = run.logged("child_status", slot=1, state="busy")
        return lines[-1] if lines else None

    line = eventually(shown, "slot 1 is shown at work", every_s=0.1)
    assert line is not None
    assert line["conversation_id"] == "conv-1"
    assert {"pid", "rss_mb", "messages", "message_age_s", "restarts"} <= set(line)
    run.say("finish")
    run.ends_well()


def test_children_die_with_a_parent_that_was_killed(start: Start) -> None:
    """No signal handler runs in the parent; the kernel ends its children."""
    run = start("busy", children=3)
    run.wait_for("child_ready", times=3)
    children = run.children()
    os.kill(run.pid, signal.SIGKILL)
    run.process.wait()
    eventually(lambda: all(gone(pid) for pid in children), "the children are gone")


def test_a_killed_child_is_replaced_and_its_death_accounted_for(start: Start) -> None:
    """A stranger's SIGKILL: the account names the claim, and the message is not blamed."""
    run = start("busy")
    ready = run.wait_for("child_ready", slot=1)
    run.wait_for("child_ready", times=2)
    eventually(lambda: status_of(run, 1) == "busy", "it has claimed", every_s=0.1)
    os.kill(ready["pid"], signal.SIGKILL)
    run.wait_for("child_ready", slot=1, times=2)
    run.wait_for("account_written", slot=1)
    (row,) = run.accounts()
    assert row == {
        "cause": "killed",
        "blamed": False,
        "pid": ready["pid"],
        "peak_mb": None,
        "conversation_id": "conv-1",
        "event_id": 41,
        "epoch": 7,
        "claimed_by": f"me-1-{ready['pid']}",
        "slot": 1,
    }
    run.say("finish")
    run.ends_well()


def status_of(run: Run, slot: int) -> str | None:
    run.send(signal.SIGUSR1)
    lines = run.logged("child_status", slot=slot)
    return lines[-1]["state"] if lines else None


def test_a_crash_is_blamed(start: Start) -> None:
    """SIGSEGV with a claim in hand."""
    run = start("segv_once", children=1)
    run.wait_for("account_written")
    assert [(row["cause"], row["blamed"], row["epoch"]) for row in run.accounts()] == [("crashed", True, 7)]
    assert run.wait_for("child_exited")["signal"] == signal.SIGSEGV
    run.wait_for("child_ready", times=2)
    run.ends_well()


def test_an_account_that_cannot_be_written_is_tried_again(start: Start) -> None:
    """The database is away; when it is back, nothing was forgotten."""
    run = start("busy", children=1)
    run.say("settle-fails")
    ready = run.wait_for("child_ready")
    eventually(lambda: status_of(run, 0) == "busy", "it has claimed", every_s=0.1)
    os.kill(ready["pid"], signal.SIGKILL)
    run.wait_for("account_delayed", times=2)
    assert run.accounts() == []
    (run.directory / "settle-fails").unlink()
    run.wait_for("account_written")
    assert [row["pid"] for row in run.accounts()] == [ready["pid"]]
    run.say("finish")
    run.ends_well()


def test_over_budget_children_are_replaced_one_at_a_time(start: Start) -> None:
    """Three keep 60 MB after their message, with a budget of 50: successor ready, drained, gone, then the next."""
    run = start("heavy", children=3, rss_budget_bytes=50 * MB, rss_hard_bytes=300 * MB)
    run.wait_for("child_exited", times=3, reason="rss_soft", exit=0)
    assert_one_leaves_at_a_time(run.names("child_draining", "child_exited"))
    assert run.logged("child_killed") == []
    run.ends_well()


def test_a_child_that_is_light_at_rest_is_left_alone(start: Start) -> None:
    """60 MB with a message, over the budget; little without. A heavy neighbour makes the turns dense meanwhile."""
    run = start("breathing", children=3, rss_budget_bytes=60 * MB, rss_hard_bytes=340 * MB)
    run.wait_for("child_ready", times=3)

    def busy_enough() -> bool:
        run.send(signal.SIGUSR1)
        return all(
            any(line["messages"] >= 100 for line in run.logged("child_status", slot=slot)) for slot in (1, 2)
        )

    eventually(busy_enough, "each of the light ones has had a hundred messages", limit_s=120.0, every_s=0.1)
    assert run.logged("child_draining") == []
    run.ends_well()


def test_a_child_that_grows_while_idle_is_replaced(start: Start) -> None:
    """It was light when it had tidied up; what it weighs since then is read, not told."""
    run = start("leaks_idle", children=1, rss_budget_bytes=60 * MB, rss_hard_bytes=300 * MB)
    assert run.wait_for("child_draining", reason="rss_soft")["rss_mb"] > 60
    run.wait_for("child_ready", times=2)
    run.ends_well()


def test_a_server_that_never_answers_is_no_failed_boot(start: Start) -> None:
    """Children stuck in their first try are replaced, for ever; when it answers, all is well."""
    run = start("unanswered", environment={"SILENT_S": "0.2"})
    run.wait_for("child_killed", times=8, reason="deadline")
    run.say("database-answers")
    eventually(lambda: len({line["slot"] for line in run.logged("child_ready")}) == 2, "both are ready")
    assert run.logged("boot_failed") == run.logged("giving_up") == []
    run.ends_well()


def test_a_greedy_child_is_frozen_settled_and_killed_below_the_hard_budget(start: Start) -> None:
    """By its own high-water mark it was never above; its neighbour is not touched."""
    run = start("greedy", children=2)
    run.wait_for("account_written", slot=0)
    run.say("greed-over")
    row = run.accounts()[0]
    run.wait_for("child_exited", reason="rss_hard", slot=0, signal=9)
    assert (row["cause"], row["blamed"], row["conversation_id"]) == ("rss_hard", True, "conv-0")
    assert 300 < row["peak_mb"] <= 375
    order = [line["event"] for line in run.events if line.get("slot") == 0]
    frozen = order.index("child_frozen")
    assert order[frozen : frozen + 4] == ["child_frozen", "account_written", "child_killed", "child_exited"]
    assert run.logged("child_exited", slot=1) == []
    run.ends_well()


def test_a_late_message_is_ended_and_blamed(start: Start) -> None:
    """Frozen, accounted, killed; the successor works."""
    run = start("late_once", children=1, message_deadline_s=0.3)
    run.wait_for("child_ready", times=2)
    assert [(row["cause"], row["blamed"]) for row in run.accounts()] == [("deadline", True)]
    assert run.logged("child_frozen", reason="deadline")
    run.ends_well()


def test_a_stuck_write_is_killed_without_a_freeze_or_blame(start: Start) -> None:
    """It may hold row locks: nobody waits for it."""
    run = start("late_writer", children=1, write_budget_s=0.3)
    run.wait_for("child_ready", times=2)
    run.wait_for("account_written")
    assert [(row["cause"], row["blamed"]) for row in run.accounts()] == [("deadline", False)]
    assert run.logged("child_frozen") == []
    run.ends_well()


def test_a_crash_loop_backs_off_and_keeps_secrets(start: Start) -> None:
    """Later and later; the exception's type and place are in the log, its text is not: it may hold a password."""
    run = start("crashes_when_ready", children=1)
    run.wait_for("crash_loop", times=2)
    waits = [line["retry_in_s"] for line in run.logged("crash_loop")]
    assert waits[0] >= 1.0
    assert waits[1] >= 2.0
    failed = run.wait_for("process_failed")
    assert (failed["exception"], failed["reason"]) == ("RuntimeError", "")
    assert "crashes_when_ready" in failed["at"]
    run.ends_well()


def test_a_set_that_cannot_boot_ends_with_one(start: Start) -> None:
    """After three tries in each slot, saying so."""
    run = start("cannot_boot")
    assert run.wait() == 1
    assert run.logged("giving_up", exit=1)
    assert all(line["reason"] == "crashed" for line in run.logged("child_exited"))
    assert {line["slot"] for line in run.logged("boot_failed") if line["times"] == 3} == {0, 1}


def test_an_old_schema_ends_with_two_and_names_the_remedy(start: Start) -> None:
    """Waited for first."""
    run = start("schema", schema_wait_s=0.5)
    assert run.wait() == 2
    assert "migrate" in run.wait_for("giving_up", exit=2)["reason"]
    assert run.wait_for("waiting", on="schema")["reason"] == "version 1, wanted 2"
    assert run.left_behind() == []


def test_waiting_for_the_database_is_said_once_and_so_is_its_return(start: Start) -> None:
    """Both children wait: one line."""
    run = start("database")
    run.wait_for("waiting", on="database", reason="refused")
    run.say("database-is-here")
    run.wait_for("back", on="database")
    run.wait_for("child_ready", times=2)
    assert len(run.logged("waiting")) == len(run.logged("back")) == 1
    assert run.logged("child_exited") == []
    run.ends_well()


def test_the_retry_pass_runs_in_a_process_of_its_own(start: Start) -> None:
    """By the clock, beside the children."""
    run = start("idle", children=1, retry_every_s=0.2)
    run.wait_until((run.directory / "retried").exists, "a retry pass has run")
    run.ends_well()


def test_a_child_killed_while_it_writes_leaves_a_consistent_record(start: Start) -> None:
    """Ten kills in the middle of reports without a pause: each account's parts belong to one message."""
    run = start("chatter", children=1)
    for kills in range(1, 11):
        pid = run.wait_for("child_ready", times=kills)["pid"]
        os.kill(pid, signal.SIGKILL)
    run.wait_for("child_ready", times=11)
    run.ends_well()
    rows = run.accounts()
    assert rows
    for row in rows:
        number = row["conversation_id"].removeprefix("conv-")
        assert row["claimed_by"] == (f"me-{number}" if number else "")
        assert row["event_id"] == row["epoch"]
        assert row["epoch"] in {0, int(number or 0)}


def test_as_pid_one_it_reaps_strangers_and_knows_its_own(start: Start) -> None:
    """In a namespace of its own: orphans of others are reaped, an own child's death is still told right."""
    unshare = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("not allowed to make a PID namespace")
    run = start("orphans", *unshare, children=1)
    run.wait_for("child_ready")
    run.wait_until((run.directory / "reaped").exists, "the orphan is reaped, not a zombie")
    inside = psutil.Process(run.pid).children()[0]
    inside.send_signal(signal.SIGTERM)
    assert run.wait() == 0
    assert run.wait_for("child_exited", reason="shutdown", exit=0)
