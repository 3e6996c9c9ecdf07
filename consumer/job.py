"""A delivery on its way to its outcome."""

from dataclasses import dataclass, field, replace

from consumer.message import Message
from consumer.ports import Delivery
from repository.rows import ClaimRequest


@dataclass(slots=True)
class Job:
    """A delivery on its way through the pipeline: the only holder of its message and of its body.

    body_bytes: of the message, or of the stored log that was worked on instead.
    """

    delivery: Delivery
    message: Message
    request: ClaimRequest
    started: float
    log_is_usable: bool = False
    body_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.body_bytes = self.delivery.size

    def log_read(self) -> None:
        """Note that the log is usable, and forget it; the raw body stays."""
        self.message = replace(self.message, log=None)
        self.log_is_usable = True


def claim_request(delivery: Delivery, message: Message, claimed_by: str) -> ClaimRequest:
    """Ask for the message's event. claimed_by: unique per delivery."""
    return ClaimRequest(
        conversation_id=message.conversation_id,
        user_id=message.user_id,
        claimed_by=claimed_by,
        redelivered=delivery.redelivered,
        carries_log=message.log is not None,
        bot_type=message.bot_type,
        bot_id=message.bot_id,
        bot_name=message.bot_name,
        agent_tag=message.agent_tag,
        conversation_log_url=message.conversation_log_url,
        start_time=message.start_time,
        end_time=message.end_time,
    )
