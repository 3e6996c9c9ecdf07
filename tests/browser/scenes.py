"""What a status server may have to show: quiet hours and bad ones, in the shape of `/status` and `/live`."""

from collections.abc import Sequence
from random import Random
from typing import Any

from supervisor import __version__

NOW = 1_767_225_845.0
SOFT_MB, HARD_MB, DEADLINE_S = 300, 375, 90.0
EVERY_S, SAMPLES = 2, 150
HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=1">',
    "\u202eevil-rtl\u202c-\u05e9\u05dc\u05d5\u05dd-\u0645\u0631\u062d\u0628\u0627",
    "c-" + "w" * 253,
    "\u2066\u2067\u200b",
    "\U0001f9f8" * 60,
    "a\nb\tc\u0000d",
    "&lt;b&gt;&amp;#39;",
)

Status = dict[str, Any]


def child(slot: int, state: str = "busy", **fields: Any) -> Status:
    """Give a child as `/status` shows it; a busy one waits for the Memory API with a message in hand."""
    busy = state == "busy"
    made = {
        "slot": slot,
        "pid": 4100 + slot,
        "state": state,
        "phase": "calling" if busy else "idle",
        "note": "",
        "rss_mb": 62.0 + 3.7 * ((slot * 7) % 11),
        "rss_at_start_mb": 55.2,
        "growth_mb_per_100_messages": 1.3 + 0.4 * (slot % 3),
        "uptime_s": 4210.0 + 31 * slot,
        "messages": 168 - 5 * slot % 40,
        "restarts": 0,
        "conversation_id": f"c-{4711 + 13 * slot}" if busy else None,
        "message_age_s": 7.0 + 9.3 * (slot % 5) if busy else 0.0,
        "message_worked_s": 7.0 + 9.3 * (slot % 5) if busy else 0.0,
        "body_mb": 2.4 + 0.3 * (slot % 4) if busy else 0.0,
        "refill_in_s": None,
        "last_end": None,
    }
    return made | fields


def empty_slot(slot: int, **fields: Any) -> Status:
    """Give a slot without a child."""
    nobody = {
        "pid": None,
        "phase": None,
        "rss_mb": None,
        "rss_at_start_mb": None,
        "uptime_s": 0.0,
        "messages": 0,
    }
    return child(slot, "empty", **(nobody | fields))


def status(children: Sequence[Status], events: Sequence[Status] = (), **parts: Any) -> Status:
    """Give a whole status; parts: more of "supervisor", "breaker", "totals", "rates" and "queue"."""
    restarts = dict.fromkeys(
        ("rss_soft", "rss_hard", "deadline", "crashed", "oom_killed", "killed", "max_messages", "reload"), 0
    )
    totals = {
        "processed": 1248,
        "failed": 3,
        "skipped": 41,
        "dead_lettered": 0,
        "duplicate": 6,
        "early": 0,
        "fenced": 0,
    }
    ready = all(one["state"] in {"idle", "busy"} for one in children)
    return {
        "supervisor": {
            "pid": 4090,
            "version": __version__,
            "host": "worker-3",
            "uptime_s": 15_432.0,
            "children_target": len(children),
            "rss_budget_mb": SOFT_MB,
            "rss_hard_mb": HARD_MB,
            "message_deadline_s": DEADLINE_S,
            "state": "ready" if ready else "running",
            "ready": ready,
            "not_ready": None if ready else "not every child is ready",
            "heartbeat_age_s": 0.04,
            "breaker": {"state": "closed", "failed_in_a_row": 0, "open_s": 0.0, "next_probe_in_s": None}
            | parts.get("breaker", {}),
            "retry_every_s": 300,
            "last_retry_pass_s": 124.0,
            "waiting_accounts": 0,
        }
        | parts.get("supervisor", {}),
        "children": list(children),
        "totals": totals
        | {
            "restarts": restarts,
            "failures": {"LOG_UNAVAILABLE": 3},
            "calls": {"answered": 1248, "failed": 0, "barred": 0},
        }
        | parts.get("totals", {}),
        "rates": {"processed_per_min": 18.0, "failed_per_min": 0.0} | parts.get("rates", {}),
        "queue": {
            "name": "conversation_events_processing",
            "ready": 214,
            "unacked": sum(one["conversation_id"] is not None for one in children),
            "dead": 0,
            "consumers": 8,
            "error": None,
        }
        | parts.get("queue", {}),
        "events": list(events)[-50:],
        "as_of": NOW,
    }


def history(whole: Status, shapes: dict[int, str] | None = None) -> Status:
    """Give a history that leads to this status. shapes: "leak", "spike" or "new" for a slot; else "flat"."""
    rng = Random(6)
    lines: dict[str, list[float | None]] = {}
    for one in whole["children"]:
        last = one["rss_mb"]
        if last is None:
            lines[str(one["slot"])] = [None] * SAMPLES
            continue
        shape = (shapes or {}).get(one["slot"], "flat")
        lines[str(one["slot"])] = [_past(shape, SAMPLES - 1 - n, last, rng) for n in range(SAMPLES)]
    processed, total = [], whole["totals"]["processed"]
    per_sample = whole["rates"]["processed_per_min"] / 30
    for n in range(SAMPLES):
        processed.append(total)
        total -= int(rng.random() < per_sample * (0.6 + 0.4 * ((n // 15) % 3)))
    return {"every_s": EVERY_S, "rss_mb": lines, "processed": processed[::-1]}


def _past(shape: str, ago: int, last: float, rng: Random) -> float | None:
    match shape:
        case "leak":
            period = 46
            gone = ago % period if ago >= 20 else ago
            start = last if ago < 20 else SOFT_MB + 12.0
            return (
                None
                if ago >= 20 and gone == period - 1
                else round(max(58.0, start - gone * 5.6 + rng.random() * 4), 1)
            )
        case "spike":
            return (
                None
                if ago in {9, 40}
                else round(58 + 300 * max(0.0, 1 - abs(ago - (11 if ago > 9 else 99)) / 5), 1)
                if ago != 0
                else last
            )
        case "new":
            return None if ago > 12 else round(last - ago * 0.4, 1)
        case _:
            return round(last + 9 * ((ago // 13) % 2) * rng.random() - 3 * rng.random(), 1) if ago else last


def happened(ago_s: float, event: str, level: str = "info", **fields: Any) -> Status:
    """Give one event, so many seconds ago."""
    return {"ts": NOW - ago_s, "level": level, "event": event} | fields


def replaced(ago_s: float, slot: int, pid: int, reason: str, **fields: Any) -> list[Status]:
    """Give the events of a child that ended, and of its successor."""
    common: Status = {"slot": slot, "pid": pid}
    ended: Status = {
        "rss_mb": 312,
        "uptime_s": 260.0,
        "messages": 41,
        "conversation_id": None,
        "exit": 0,
        "signal": None,
    }
    ended |= fields
    killed = []
    if reason in {"rss_hard", "deadline"}:
        ended |= {"exit": None, "signal": 9}
        seen: Status = {
            "reason": reason,
            "rss_mb": ended["rss_mb"],
            "conversation_id": ended["conversation_id"],
        }
        killed = [
            happened(ago_s + 0.6, "child_frozen", "warning", **common, **seen),
            happened(ago_s + 0.1, "child_killed", "warning", **common, **seen),
        ]
    return [
        *killed,
        happened(ago_s, "child_exited", **common, reason=reason, **ended),
        happened(ago_s - 0.1, "child_forked", slot=slot, pid=pid + 40, generation=2),
        happened(ago_s - 0.3, "child_ready", slot=slot, pid=pid + 40, ms=180),
    ]


def last_end(
    ago_s: float, reason: str, pid: int, conversation_id: str | None, rss_mb: float | None
) -> Status:
    """Give why the last child of a slot ended."""
    return {
        "reason": reason,
        "at": NOW - ago_s,
        "pid": pid,
        "conversation_id": conversation_id,
        "rss_mb": rss_mb,
    }


def failed(ago_s: float, slot: int, conversation_id: str, code: str, ms: int = 60_004) -> Status:
    """Give the event of a message that failed."""
    return happened(
        ago_s, "message_failed", "warning", slot=slot, conversation_id=conversation_id, code=code, ms=ms
    )


def calm(children: int = 8) -> Status:
    """All is well; every third child rests."""
    return status(
        [child(n, "idle" if n % 3 == 2 else "busy") for n in range(children)],
        [
            happened(
                15_432, "supervisor_started", pid=4090, children=children, rss_budget_mb=300, rss_hard_mb=375
            ),
            *(
                happened(15_431 - n / 10, "child_ready", slot=n, pid=4100 + n, ms=210)
                for n in range(min(children, 8))
            ),
            failed(5210, 1, "c-3310", "LOG_UNAVAILABLE", 812),
            *replaced(2590, 6, 4066, "rss_soft", conversation_id="c-4290", messages=211, uptime_s=9400.0),
            happened(124, "retry_pass", rescued=0, due=2, published=2),
        ],
    )


def empty() -> Status:
    """Just started: no child has been forked, nothing is known of the queue."""
    return status(
        [],
        supervisor={"children_target": 8, "state": "starting", "ready": False, "not_ready": "0 of 8 children are ready",
                    "uptime_s": 0.4, "last_retry_pass_s": None},
        totals={"processed": 0, "failed": 0, "skipped": 0, "duplicate": 0, "failures": {},
                "calls": {"answered": 0, "failed": 0, "barred": 0}},
        rates={"processed_per_min": 0.0},
        queue={"ready": None, "dead": None, "consumers": None},
    )  # fmt: skip


def leak(slot: int = 3) -> Status:
    """One slot's children grow until they are replaced, each with another conversation in hand."""
    events: list[Status] = []
    for n, ago in enumerate((560, 430, 300, 40)):
        reason = "rss_hard" if n == 3 else "rss_soft"
        events += replaced(
            ago, slot, 4200 + n, reason, rss_mb=362 if n == 3 else 308 + n, conversation_id=f"c-{900 + n}"
        )
    children = [child(n, "idle" if n % 3 == 2 else "busy") for n in range(8)]
    children[slot] = child(
        slot, pid=4243, rss_mb=271.4, growth_mb_per_100_messages=612.0, messages=35, uptime_s=39.0, restarts=17,
        last_end=last_end(40, "rss_hard", 4203, "c-903", 362.0),
    )  # fmt: skip
    return status(children, events, totals=_restarts(rss_soft=16, rss_hard=1))


def outage() -> Status:
    """The Memory API answers nobody: the breaker is open."""
    codes = ["MEMORY_API_TIMEOUT"] * 9 + ["MEMORY_API_ERROR"] * 7
    events = [
        failed(318 - 7.1 * n, n % 8, f"c-{4800 + n}", code, 60_003 if code.endswith("OUT") else 1210)
        for n, code in enumerate(codes)
    ]
    events += [
        happened(204, "breaker_opened", "warning", failures=16, failed_probes=0, next_probe_in_s=10.0),
        happened(160, "breaker_half_open", slot=5, pid=4105),
        failed(101, 5, "c-4816", "MEMORY_API_TIMEOUT", 60_002),
        happened(100, "breaker_opened", "warning", failures=17, failed_probes=1, next_probe_in_s=60.0),
    ]
    return status(
        [child(n, "idle", rss_mb=58.0 + n) for n in range(8)],
        events,
        supervisor={"state": "waiting", "ready": False, "not_ready": "the Memory API is down: the breaker is open"},
        breaker={"state": "open", "failed_in_a_row": 17, "open_s": 204.0, "next_probe_in_s": 14.2},
        totals={"failed": 20, "failures": {"MEMORY_API_TIMEOUT": 10, "MEMORY_API_ERROR": 7, "LOG_UNAVAILABLE": 3},
                "calls": {"answered": 1248, "failed": 17, "barred": 0}},
        rates={"processed_per_min": 0.0, "failed_per_min": 0.6},
        queue={"ready": 1904, "unacked": 0},
    )  # fmt: skip


def poison(conversation_id: str = "c-17") -> Status:
    """One message kills two children, and is settled."""
    events = [
        *replaced(95, 3, 4103, "rss_hard", rss_mb=366, conversation_id=conversation_id, messages=12),
        happened(
            94.5,
            "account_written",
            slot=3,
            pid=4103,
            cause="rss_hard",
            blamed=True,
            conversation_id=conversation_id,
        ),
        *replaced(61, 5, 4105, "rss_hard", rss_mb=371, conversation_id=conversation_id, messages=77),
        happened(
            60.5,
            "account_written",
            slot=5,
            pid=4105,
            cause="rss_hard",
            blamed=True,
            conversation_id=conversation_id,
        ),
        failed(59, 1, conversation_id, "MEMORY_BUDGET_EXCEEDED", 31),
    ]
    children = [child(n, "idle" if n % 3 == 2 else "busy") for n in range(8)]
    for slot, ago, rss in ((3, 95, 366.0), (5, 61, 371.0)):
        children[slot] |= {
            "pid": 4143 + slot, "restarts": 1, "uptime_s": ago, "messages": 4,
            "last_end": last_end(ago, "rss_hard", 4100 + slot, conversation_id, rss),
        }  # fmt: skip
    return status(
        children,
        events,
        totals=_restarts(rss_hard=2)
        | {"failed": 4, "failures": {"LOG_UNAVAILABLE": 3, "MEMORY_BUDGET_EXCEEDED": 1}},
    )


def bad_night() -> Status:
    """Something of everything, as a picture for the documentation: a leak, a poison message, a late child."""
    whole = leak()
    other = poison("c-17")
    whole["events"] = sorted(
        [*whole["events"], *other["events"], *calm()["events"][-7:]], key=lambda one: one["ts"]
    )
    children = whole["children"]
    for slot in (1, 5):
        ago_s = 95.0 if slot == 1 else 61.0
        end = last_end(ago_s, "rss_hard", 4100 + slot, "c-17", 371.0)
        children[slot] |= {"restarts": 1, "uptime_s": ago_s, "messages": 4, "last_end": end}
    for event in whole["events"]:
        if event.get("conversation_id") == "c-17" and event.get("slot") == 3:
            event["slot"], event["pid"] = 1, 4101
    children[4] |= {"message_age_s": 78.4, "message_worked_s": 78.4}
    children[6] |= {"phase": "writing", "message_age_s": 41.2, "message_worked_s": 41.2}
    children[7] |= {"restarts": 1, "last_end": last_end(7600, "rss_soft", 4067, "c-4290", 304.0)}
    whole["totals"] |= _restarts(rss_soft=17, rss_hard=3) | {
        "failed": 4, "dead_lettered": 2, "failures": {"LOG_UNAVAILABLE": 3, "MEMORY_BUDGET_EXCEEDED": 1},
        "calls": {"answered": 1248, "failed": 0, "barred": 0},
    }  # fmt: skip
    whole["queue"] |= {"dead": 2}
    return whole


def hostile() -> Status:
    """Ids as only an enemy sends them, everywhere where an id can stand."""
    children = [
        child(n, conversation_id=one, restarts=2, last_end=last_end(30, "rss_hard", 4000 + n, one, 370.0))
        for n, one in enumerate(HOSTILE)
    ]
    events = []
    for n, one in enumerate(HOSTILE):
        events += replaced(30, n, 4000 + n, "rss_hard", rss_mb=370, conversation_id=one)
        events.append(failed(20, n, one, "<b>CODE</b>"))
    return status(children, events, totals={"failures": {"<b>CODE</b>": 8}})


def _restarts(**reasons: int) -> Status:
    return {"restarts": {"rss_soft": 0, "rss_hard": 0, "killed": 0} | reasons}
