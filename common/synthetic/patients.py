"""Made patients: each has an own breath spectrum, gain and rhythm, and clips with and without wheezes and crackles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from common.synthetic import sounds

CONDITIONS = ((False, False), (True, False), (False, True), (True, True))
# A patient with asthma or pneumonia does not have the sound in every clip.
SOUND_IN_CLIP = 0.75


@dataclass(frozen=True)
class Patient:
    """What stays the same over a patient's clips; all drawn at random.

    Attributes:
        name: patient identifier.
        wheezes, crackles: whether clips of this patient may hold them.
        breaths_per_min, inspiration_share: rhythm; the share is of the breath that is inspiration.
        corner_hz, tilt_db_per_octave: spectrum of the breath noise.
        gain: peak of a clip, relative to full scale.
        heart_level, heart_per_min: heart sounds relative to the breath noise's RMS (0 for none), and their rate.
        fine: crackles are fine, else coarse.
    """

    name: str
    wheezes: bool
    crackles: bool
    breaths_per_min: float
    inspiration_share: float
    corner_hz: float
    tilt_db_per_octave: float
    gain: float
    heart_level: float
    heart_per_min: float
    fine: bool


@dataclass(frozen=True)
class MadeClip:
    """One made recording: waveform float32 [T] within [-1, 1], and its labels 1 or 0."""

    patient: str
    waveform: np.ndarray
    normal: int
    wheeze: int
    crackle: int


def make_patients(
    patients: int = 24, clips_per_patient: int = 6, seconds: float = 5.0, sample_rate: int = 4000, seed: int = 0
) -> Iterator[MadeClip]:
    """Yield the clips of made patients, patient by patient; the same arguments give the same samples.

    Conditions (none, wheezes, crackles, both) are dealt evenly, so that few patients already hold every label.

    Args:
        patients: how many.
        clips_per_patient: clips of each.
        seconds: length of every clip; 2 s hold at least half a breath.
        sample_rate: Hz, at least 2000, since the sounds reach 1000 Hz.
        seed: of everything drawn.
    """
    for number in range(patients):
        # A generator per patient and clip: more patients or clips leave the others' samples as they are.
        patient = _draw_patient(np.random.default_rng([seed, number]), number)
        for clip in range(clips_per_patient):
            yield _make_clip(np.random.default_rng([seed, number, clip + 1]), patient, seconds, sample_rate)


def _draw_patient(rng: Generator, number: int) -> Patient:
    wheezes, crackles = CONDITIONS[number % len(CONDITIONS)]
    return Patient(
        name=f"p{number:03d}",
        wheezes=wheezes,
        crackles=crackles,
        breaths_per_min=rng.uniform(14, 30),
        inspiration_share=rng.uniform(0.35, 0.5),
        corner_hz=rng.uniform(120, 350),
        tilt_db_per_octave=rng.uniform(8, 16),
        gain=rng.uniform(0.1, 0.7),
        heart_level=rng.uniform(1, 4) if rng.random() < 0.5 else 0.0,
        heart_per_min=rng.uniform(60, 120),
        fine=bool(rng.random() < 0.5),
    )


def _make_clip(rng: Generator, patient: Patient, seconds: float, sample_rate: int) -> MadeClip:
    num_samples = round(seconds * sample_rate)
    has_wheeze = patient.wheezes and rng.random() < SOUND_IN_CLIP
    has_crackle = patient.crackles and rng.random() < SOUND_IN_CLIP
    breath = sounds.coloured_noise(rng, num_samples, sample_rate, patient.tilt_db_per_octave, patient.corner_hz)
    envelope = np.full(num_samples, 0.05)
    waveform = np.zeros(num_samples)
    phases = _breath_phases(rng, patient, seconds)
    audible = [phase for phase in phases if min(phase[1], seconds) - max(phase[0], 0) > 0.25]
    for start_s, end_s, inspiration in phases:
        time = np.arange(num_samples) / sample_rate
        inside = np.clip((time - start_s) / (end_s - start_s), 0, 1)
        envelope += (1.0 if inspiration else 0.5) * np.sin(np.pi * inside) ** 0.7 * ((inside > 0) & (inside < 1))
    if has_wheeze:
        _add_wheezes(rng, waveform, audible, sample_rate)
    if has_crackle:
        _add_crackles(rng, waveform, audible, sample_rate, sounds.FINE_CRACKLE if patient.fine else sounds.COARSE_CRACKLE)
    waveform += breath * envelope + 0.02 * rng.standard_normal(num_samples)
    if patient.heart_level:
        for start_s in np.arange(rng.uniform(-0.5, 0.5), seconds, 60 / patient.heart_per_min):
            _add(waveform, patient.heart_level * 0.5 * sounds.heart_sound(rng, sample_rate), start_s, sample_rate)
    waveform *= patient.gain * rng.uniform(0.8, 1.2) / np.abs(waveform).max()
    normal = not (has_wheeze or has_crackle)
    return MadeClip(patient.name, waveform.astype(np.float32), int(normal), int(has_wheeze), int(has_crackle))


def _breath_phases(rng: Generator, patient: Patient, seconds: float) -> list[tuple[float, float, bool]]:
    """Inspirations and expirations that touch the clip: start s, end s, whether it is an inspiration."""
    period_s = 60 / patient.breaths_per_min
    start_s = -rng.uniform(0, period_s)
    phases = []
    while start_s < seconds:
        turn_s = start_s + patient.inspiration_share * period_s
        phases.append((start_s, turn_s, True))
        # The last tenth of a breath is the pause before the next one.
        phases.append((turn_s, start_s + 0.9 * period_s, False))
        start_s += period_s * rng.uniform(0.9, 1.1)
    return [phase for phase in phases if phase[1] > 0 and phase[0] < seconds]


def _add_wheezes(rng: Generator, waveform: np.ndarray, phases: list[tuple[float, float, bool]], sample_rate: int) -> None:
    """Wheezes belong to expiration; where the clip holds none that is long enough, they take what there is."""
    seconds = len(waveform) / sample_rate
    chosen = [phase for phase in phases if not phase[2]] or phases or [(0.0, seconds, False)]
    level = 10 ** (rng.uniform(-10, 4) / 20)
    for start_s, end_s, _ in chosen:
        start_s, end_s = max(start_s, 0), min(end_s, seconds)
        duration_s = max((end_s - start_s) * rng.uniform(0.4, 0.9), 0.12)
        at_s = min(start_s + rng.uniform(0, 1) * max(end_s - start_s - duration_s, 0), max(seconds - duration_s, 0))
        _add(waveform, level * sounds.wheeze(rng, duration_s, sample_rate), at_s, sample_rate)


def _add_crackles(
    rng: Generator, waveform: np.ndarray, phases: list[tuple[float, float, bool]], sample_rate: int, widths: tuple[float, float]
) -> None:
    """Crackles belong to inspiration: fine ones to its end, many and soft, coarse ones earlier, fewer and louder (CORSA)."""
    seconds = len(waveform) / sample_rate
    fine = widths == sounds.FINE_CRACKLE
    chosen = [phase for phase in phases if phase[2]] or phases or [(0.0, seconds, True)]
    level = 10 ** (rng.uniform(10, 18) / 20)
    for start_s, end_s, _ in chosen:
        start_s, end_s = max(start_s, 0), min(end_s, seconds)
        centre = 0.7 if fine else 0.4
        for _ in range(rng.integers(5, 13) if fine else rng.integers(3, 8)):
            at_s = start_s + (end_s - start_s) * np.clip(rng.normal(centre, 0.15), 0, 0.95)
            scale = rng.uniform(0.8, 1.3)
            burst = sounds.crackle(sample_rate, widths[0] * scale, widths[1] * scale)
            _add(waveform, level * rng.uniform(0.5, 1) * rng.choice([-1, 1]) * burst, at_s, sample_rate)


def _add(waveform: np.ndarray, sound: np.ndarray, start_s: float, sample_rate: int) -> None:
    """Add ``sound`` in place at ``start_s``; what lies outside the clip is cut off."""
    start = round(start_s * sample_rate)
    first, last = max(start, 0), min(start + len(sound), len(waveform))
    if first < last:
        waveform[first:last] += sound[first - start : last - start]
