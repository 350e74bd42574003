"""``python -m finetune explain``: where in a clip's spectrogram a classifier looks, as a page."""

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import write_text


def explain(clip: list[str], out: str, run: str | None = None, model: str | None = None, manifest: str | None = None) -> dict[str, Any]:
    """Draw occlusion and Grad-CAM maps over the spectrograms of clips, one per label, on a page with their audio.

    Of a clip that is longer than the model's window, each label's own most probable window is shown. A map says what this network
    reacts to, not what made the sound.

    Args:
        clip: ids of the clips, as the manifest names them.
        out: page to write, one HTML file that opens without network.
        run: folder of 'python -m finetune crossval', or of 'baseline' over frames; each clip is judged by the fold that holds it out.
        model: checkpoint of one fold (best.ckpt) in place of a run; it may have been trained on the clips.
        manifest: says where the clips' audio is; the run's own by default.

    Returns:
        The number of clips, whether there are Grad-CAM maps, and the page's path.

    Raises:
        UserError: neither run nor model is given or both are, the run has no networks, or a clip is not in the manifest, the run or its
            file.
    """
    if (run is None) == (model is None):
        raise UserError("Give either --run, a folder of 'python -m finetune crossval', or --model, a checkpoint of one fold.")
    # Late: torch takes seconds to import, which --help should not.
    import torch

    from common.manifest import read_manifest
    from common.training.checkpoint import open_module
    from finetune.classifier import Classifier
    from finetune.explain.maps import explain_clip
    from finetune.explain.page import render
    from finetune.run_folder import read_run_folder

    folder = None if run is None else read_run_folder(run)
    if folder is not None:
        folder.require_networks()
    table = read_manifest(manifest) if manifest is not None else None if folder is None else folder.manifest()
    if table is None:
        raise UserError("There is no manifest to find the clips by: name it with --manifest.")
    rows = table.drop_duplicates("clip_id").set_index("clip_id", drop=False)
    unknown = [name for name in clip if name not in rows.index]
    if unknown or not clip:
        raise UserError(f"clip {unknown[0]} is not in the manifest: expected a value of its column clip_id." if unknown else "No --clip.")
    folds = {} if folder is None else folder.held_out_by()
    opened: dict[str, Classifier] = {}
    explained = []
    torch.manual_seed(0)
    for name in clip:
        if folder is not None and name not in folds:
            raise UserError(f"clip {name} is in no fold of {run}: expected a clip_id of its folds.csv, or give --model.")
        checkpoint = str(model if folder is None else folder.checkpoint(folds[name]))
        if checkpoint not in opened:
            opened[checkpoint] = open_module(checkpoint, Classifier)
        by = f"fold {folds[name]}, which held it out" if folder is not None else Path(checkpoint).name
        explained.append(explain_clip(opened[checkpoint], rows.loc[[name]].iloc[0], by))
    write_text(Path(out), render(explained))
    return {"clips": len(explained), "grad_cam": all(each.has_grad_cam for each in explained), "page": out}
