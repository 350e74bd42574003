"""A service, as its clients know it: ``/v1`` over HTTP, and its types."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from serve.schemas import A, AnyAnswer, ErrorAnswer, FramesAnswer, ModelAnswer, PredictAnswer, Problem, RecordingAnswer, RecordingFrames

# The service gives up after 30 s as it comes; a tunnel or proxy in between needs a little.
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
TRIES = 4
LONGEST_WAIT_S = 5.0
# A form's boundary and headers for one file, bytes, generously.
FORM_BYTES = 1024

Answer = TypeVar("Answer", bound=BaseModel)
Metadata = Mapping[str, float | str | None]


class ServiceError(Exception):
    """Why a service gave no answer at all; its text is one sentence for whoever looks at the page."""


@dataclass(frozen=True)
class Answers(Generic[A]):
    """Of some recordings, in their order.

    Attributes:
        version: of the bundle that answered; empty where a single recording was refused.
        results: one per recording.
    """

    version: str
    results: list[A]


@dataclass(frozen=True)
class Service:
    """A service that runs somewhere.

    Args:
        name: under which the page shows it.
        url: without ``/v1``.
        token: what it asks for; None where nothing.
        transport: replaces the network, for tests.
    """

    name: str
    url: str
    token: str | None = field(default=None, repr=False)
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def describe(self) -> ModelAnswer:
        """The bundle that answers there.

        Raises:
            ServiceError: it does not say.
        """
        return self._read(self._request("GET", "/v1/model"), ModelAnswer)

    def predict(self, recordings: Sequence[bytes], metadata: Metadata | None = None) -> Answers[RecordingAnswer]:
        """Ask for the labels of some recordings, in one request.

        Args:
            recordings: files of audio.
            metadata: of the patient, for a model that takes any: the same for all recordings.

        Raises:
            ServiceError: the request as a whole was not answered. A recording that is refused has its own ``error`` instead.
        """
        data = {} if metadata is None else {"metadata": json.dumps([dict(metadata)] * len(recordings))}
        return self._answers("/v1/predict", PredictAnswer, RecordingAnswer, recordings, data)

    def frames(self, recordings: Sequence[bytes]) -> Answers[RecordingFrames]:
        """Ask for the events of some recordings, frame by frame; otherwise as `predict`."""
        return self._answers("/v1/frames", FramesAnswer, RecordingFrames, recordings, {})

    def _answers(
        self, address: str, whole: type[AnyAnswer[A]], one: type[A], recordings: Sequence[bytes], data: dict[str, str]
    ) -> Answers[A]:
        files = [("file", ("recording", content)) for content in recordings]
        response = self._request("POST", address, files=files, data=data)
        if response.status_code in (413, 422) and len(recordings) == 1:
            # The service refuses a single recording as it refuses a request.
            return Answers("", [one(index=0, status="failed", error=self._problem(response))])
        answer = self._read(response, whole)
        if len(answer.results) != len(recordings):
            raise ServiceError(f"{self.name} answered {len(answer.results)} of {len(recordings)} recordings: is it another release?")
        return Answers(answer.model, answer.results)

    def refused(self, problem: Problem) -> ServiceError:
        """What is to be said when a request has no answer."""
        return ServiceError(f"{self.name} refused the request ({problem.reason}): {problem.message}")

    def replaced(self) -> ServiceError:
        """What is to be said when two answers are not of one bundle."""
        return ServiceError(f"The model of {self.name} was replaced meanwhile: ask again.")

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT, transport=self.transport) as client:
                for attempt in range(1, TRIES + 1):
                    response = client.request(method, path, **content)
                    if response.status_code != 503 or attempt == TRIES:
                        break
                    time.sleep(_wait_s(response))
        except httpx.TimeoutException as error:
            raise ServiceError(f"{self.name} did not answer in time: try again, or send a shorter recording.") from error
        except httpx.HTTPError as error:
            raise ServiceError(f"{self.name} cannot be reached: ask whoever runs the service whether it is up.") from error
        return response

    def _read(self, response: httpx.Response, kind: type[Answer]) -> Answer:
        if response.status_code != 200:
            raise self.refused(self._problem(response))
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise ServiceError(f"{self.name} does not answer as the service does: check its address.") from error

    def _problem(self, response: httpx.Response) -> Problem:
        try:
            return ErrorAnswer.model_validate_json(response.content).error
        except ValidationError as error:
            raise ServiceError(f"{self.name} answered with status {response.status_code} and no reason: check its address.") from error


def _wait_s(response: httpx.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 1)), LONGEST_WAIT_S)
    except ValueError:
        return 1.0


def batches(recordings: Sequence[bytes], limits: Mapping[str, float]) -> Iterator[Sequence[bytes]]:
    """Recordings in the requests that the service takes: within its ``max_files`` and ``max_bytes``, and at least one in each."""
    most, room = int(limits.get("max_files", 1)), limits.get("max_bytes", 0)
    begin, size = 0, 0.0
    for end, content in enumerate(recordings):
        needed = len(content) + FORM_BYTES
        if end > begin and (end - begin >= most or size + needed > room):
            yield recordings[begin:end]
            begin, size = end, 0.0
        size += needed
    if begin < len(recordings):
        yield recordings[begin:]
