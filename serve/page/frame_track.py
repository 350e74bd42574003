"""Labels over time of a model that tells events frame by frame: the rows of one request to ``/v1/frames``."""

import numpy as np

from serve.page.client import Service
from serve.page.track import Track


def frame_track(service: Service, content: bytes, version: str) -> Track:
    """Ask for the frames of a recording.

    Args:
        service: that tells frames.
        content: of the recording's file.
        version: of the bundle that answered the whole recording.

    Raises:
        ServiceError: they were not answered, or by another bundle than the whole.
    """
    answers = service.frames([content])
    result = answers.results[0]
    if answers.version not in ("", version) or (result.error is not None and result.error.reason == "no_frames"):
        raise service.replaced()
    if result.error is not None:
        raise service.refused(result.error)
    probabilities = np.array([event.probabilities for event in result.labels]).T
    thresholds = [event.threshold for event in result.labels]
    return Track(
        by="frames",
        labels=[event.label for event in result.labels],
        thresholds=thresholds,
        bands={},
        begin_s=np.array(result.begin_s),
        end_s=np.array(result.end_s),
        edges_s=np.array([*result.begin_s, result.end_s[-1]]),
        probabilities=probabilities,
        present=probabilities >= np.array(thresholds),
        faults=result.row_flags,
    )
