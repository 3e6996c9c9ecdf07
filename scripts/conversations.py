"""Made-up conversations of any size, the same for the same id: for the demo, the load test and the tests."""

from dataclasses import dataclass
from random import Random

import orjson

TOPICS = ("movie", "dinosaur", "family", "school", "space", "football")
_ROBOT = (
    "Chào bé! Hôm nay bé có vui không?",
    "Wow, that sounds wonderful. Tell me more!",
    "What did you do next?",
    "Pika thích nghe bé kể chuyện lắm.",
    "Do you know how big a blue whale is?",
    "Mình cùng đếm nhé: một, hai, ba!",
)
_CHILD = (
    "Con đi công viên với ba mẹ!",
    "I saw a really big dog and it was brown.",
    "No... maybe. I don't know.",
    "Con muốn nghe chuyện khủng long.",
    "Because my friend said so!",
    "Dạ, con thích màu xanh.",
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A message body, and what its score must count. turns: by the contract's rule."""

    conversation_id: str
    user_id: str
    agent_tag: str
    turns: int
    body: bytes


def make(
    conversation_id: str, user_id: str, *, size_bytes: int = 0, messages: int = 10, emoji: bool = False
) -> Conversation:
    """Make a conversation of at least `size_bytes`, or else of about `messages` items.

    Seeded by the id alone. emoji: half of the texts hold one, which makes them four times as large once decoded.
    """
    rng = Random(conversation_id)
    topic = rng.choice(TOPICS)
    items: list[bytes] = []
    made = turns = 0
    unpaired: str | None = None
    while made < size_bytes or (not size_bytes and len(items) < messages):
        # Mostly in turn; now and then somebody speaks twice
        robot = len(items) % 2 == 0 if rng.random() < 0.9 else rng.random() < 0.5
        speaker = "pika" if robot else "user"
        text = " ".join(rng.choices(_ROBOT if robot else _CHILD, k=rng.randint(1, 8)))
        if emoji and rng.random() < 0.5:
            text += " 🦕"
        item = orjson.dumps(
            {
                "speaker": speaker,
                "turn_id": len(items) // 2 + 1,
                "text": text,
                "timestamp": "2026-01-01T08:00:00Z",
            }
        )
        items.append(item)
        made += len(item) + 1
        if unpaired is None or unpaired == speaker:
            unpaired = speaker
        else:
            turns, unpaired = turns + 1, None
    head = {"conversation_id": conversation_id, "user_id": user_id, "bot_type": "TALK", "agent_tag": topic}
    body = orjson.dumps(head)[:-1] + b',"conversation_log":[' + b",".join(items) + b"]}"
    return Conversation(conversation_id, user_id, topic, turns, body)
