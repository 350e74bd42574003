"""``python -m common synthetic``: made patients in the take-home layout."""

from typing import Any

from common.errors import UserError
from common.progress import say
from common.synthetic.dirt import plant_dirt
from common.synthetic.takehome import write_takehome


def synthetic(
    out: str,
    patients: int = 24,
    clips_per_patient: int = 6,
    seconds: float = 5.0,
    sample_rate: int = 4000,
    seed: int = 0,
    dirt: bool = False,
) -> dict[str, Any]:
    """Write made patients with breath noise, wheezes and crackles in the take-home layout (train/NNNN.wav, train.csv).

    Args:
        out: folder to write; one that an earlier call wrote is replaced.
        patients: number of patients; 24 give three folds enough of every label.
        clips_per_patient: clips of each patient.
        seconds: length of a clip in s.
        sample_rate: in Hz; 4000 holds the sounds, which end at 1000 Hz, and trains fast.
        seed: of everything drawn; the same seed gives the same files.
        dirt: also plant the faults that a real folder has (see ``common audit``), to try the audit on; wants 4 clips or more.

    Returns:
        Figures: folder, clips and patients that were made, clips by label, and faults (file name -> reason that the audit must give).

    Raises:
        UserError: an argument is out of range, or ``out`` holds other data or cannot be written.
    """
    if dirt and patients * clips_per_patient < 4:
        raise UserError(f"Cannot plant faults among {patients * clips_per_patient} clips: expected at least 4; make more --patients.")
    table = write_takehome(out, patients, clips_per_patient, seconds, sample_rate, seed)
    counts = {label: int(table[label].sum()) for label in ("normal", "wheeze", "crackle")}
    faults = plant_dirt(out) if dirt else {}
    say(f"Wrote {len(table)} clips of {patients} made patients to {out}" + (f", and {len(faults)} faults" if faults else "") + ".")
    return {"folder": str(out), "clips": len(table), "patients": patients, **counts, "faults": faults}
