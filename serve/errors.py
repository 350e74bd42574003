"""Every reason for which a request is refused: one table, which the responses, the metrics and the documentation share."""

from dataclasses import dataclass


class StartError(Exception):
    """Why the service cannot start, or a bundle not be taken; its text is one sentence for the operator."""


@dataclass(frozen=True)
class Reason:
    """A reason, as its machine-readable name stands for it.

    Attributes:
        status: HTTP status.
        meaning: what it says, for the documentation.
        retry: whether the same request may succeed later; it is then sent with Retry-After.
    """

    status: int
    meaning: str
    retry: bool = False


REASONS = {
    "bad_request": Reason(400, "the body is not what its Content-Type says, or a field is missing or unknown"),
    "unauthorized": Reason(401, "the token is missing or wrong"),
    "not_found": Reason(404, "there is no such address"),
    "method_not_allowed": Reason(405, "the address does not take this method"),
    "too_many_bytes": Reason(413, "the body is larger than `max_bytes`"),
    "unsupported_content_type": Reason(415, "neither multipart/form-data nor application/json, or compressed"),
    "no_files": Reason(422, "the request holds no recording"),
    "too_many_files": Reason(422, "more recordings than `max_files`"),
    "bad_base64": Reason(422, "the recording's text is not base64"),
    "bad_metadata": Reason(422, "metadata that the model does not take, or of the wrong type"),
    "no_frames": Reason(422, "the bundle tells no events frame by frame, or the backend cannot"),
    "not_audio": Reason(422, "it does not open as WAV, FLAC or OGG"),
    "no_samples": Reason(422, "the recording holds no samples"),
    "too_long": Reason(422, "longer than `max_seconds` or the bundle's `limits.max_s`, or its header says so"),
    "too_short": Reason(422, "shorter than the bundle's `limits.min_s`"),
    "too_many_channels": Reason(422, "more channels than `max_channels`"),
    "unsupported_rate": Reason(
        422, "beyond `max_rate_hz` or the bundle's limits, or without a usable common divisor with the model's rate"
    ),
    "not_answered": Reason(422, "the model has no finite answer for the recording"),
    "bundle_refused": Reason(409, "the new bundle does not verify; the old one still answers"),
    "internal": Reason(500, "a fault of the service; the log has the same `request_id`"),
    "queue_full": Reason(503, "`max_in_flight` requests are being answered", retry=True),
    "timed_out": Reason(503, "not answered within `timeout_s`, or not decoded within `decode_timeout_s`", retry=True),
    "worker_restarting": Reason(503, "the decoding process ended twice, and is being replaced", retry=True),
    "out_of_memory": Reason(503, "there was no memory for the recording", retry=True),
    "storage_full": Reason(503, "there is no room where the service had to write; the old bundle still answers", retry=True),
    "not_ready": Reason(503, "the service has no decoding process", retry=True),
}
RETRY_AFTER_S = 1


class Refusal(Exception):
    """A request, or one of its recordings, that is not answered.

    Args:
        reason: a name in `REASONS`.
        message: one sentence: what was found, what was expected. Never a file's name, nor any of its content.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = REASONS[reason].status
        self.headers = {"Retry-After": str(RETRY_AFTER_S)} if REASONS[reason].retry else {}
        if reason == "unauthorized":
            self.headers["WWW-Authenticate"] = "Bearer"
