"""What must hold before a step is spent: winners and losers went through the same path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from rushes.store.latents import LatentStore, first_frame_key
from rushes.training.comparison import Comparison

LEAST_CORRELATION = 0.9
SPREADS = (0.8, 1.25)  # of a latent frame that shows the same picture, loser over winner


def check_latents(comparisons: Sequence[Comparison], latents: LatentStore, clean: bool = True) -> None:
    """Refuse comparisons whose views start from the same picture and do not show it in their latents.

    RealDPO's released loader encodes losers without normalising their pixels; first-frame latents of winner and loser
    then correlate at 0.59 where they should be near 1, and the two are trivially told apart. A model that is not given
    the first frame clean (`clean` false) may start its takes elsewhere, so those that it made here are not looked at.

    Raises:
        ValueError: names the clip, both figures and the remedy.
    """
    for comparison in comparisons:
        for view in comparison.views:
            made = not clean and view.source not in ("real", "imported")
            if not view.first_frame or view.edit or made:  # an edit may change the first frame, and is meant to
                continue
            given, own = latents.get(first_frame_key(view.first_frame)), latents.get(view.key)
            assert given is not None and own is not None
            problem = same_picture(given[:, 0], own[:, 0])
            if problem:
                raise ValueError(
                    f"comparison {comparison.id}: the {view.source} clip {view.media[:12]} does not start from its "
                    f"given first frame ({problem}): one of them was encoded without normalising pixels, or at another "
                    f"size or crop; encode both through `rushes train`, or leave this clip out"
                )


def check_folder(folder: Path) -> dict[str, str]:
    """Problem of each loser in a folder of latents as RealDPO's released trainer caches them; "" where there is none.

    Winners lie in `video_latent/MODEL/SIZE/NAME.safetensors`, their losers in
    `lose_video_latent/MODEL/SIZE/NAME/0.safetensors`, 1, ...; each file holds one tensor [C, F, H, W], and all of a
    name start from the same picture. Keys of the result are paths below the folder.

    Raises:
        ValueError: no losers there, one without its winner, or a file that is not such a latent.
    """
    losers = sorted(folder.glob("lose_video_latent/*/*/*/*.safetensors"))
    if not losers:
        raise ValueError(f"{folder}: no lose_video_latent/MODEL/SIZE/NAME/*.safetensors in it; name the latents folder")
    found = {}
    for path in losers:
        *_, model, size, name, _ = path.parts
        winner = folder / "video_latent" / model / size / f"{name}.safetensors"
        found[str(path.relative_to(folder))] = unlike(_read(winner), _read(path))
    return found


def _read(path: Path) -> torch.Tensor:
    try:
        (latent,) = load_file(path).values()
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: not a file with one latent ({error}); encode it again") from error
    if latent.ndim != 4:
        raise ValueError(f"{path}: a latent has the shape [C, F, H, W], this one {list(latent.shape)}; encode it again")
    return latent


def unlike(winner_CFHW: torch.Tensor, loser_CFHW: torch.Tensor) -> str:
    """Why latents of two clips that start from the same picture did not come the same way; empty where they did."""
    if winner_CFHW.shape != loser_CFHW.shape:
        return f"their latents have the shapes {list(winner_CFHW.shape)} and {list(loser_CFHW.shape)}"
    if not (winner_CFHW.isfinite().all() and loser_CFHW.isfinite().all()):
        return "a latent has values that are not finite"
    return same_picture(winner_CFHW[:, 0], loser_CFHW[:, 0])


def same_picture(one_CHW: torch.Tensor, other_CHW: torch.Tensor) -> str:
    """Why two latents of one picture are not that; empty where they are."""
    one, other = one_CHW.float().flatten(), other_CHW.float().flatten()
    if torch.equal(one, other):  # also where both are flat, which have no correlation
        return ""
    correlation = float(torch.corrcoef(torch.stack([one, other]))[0, 1])
    spread = float(other.std() / one.std().clamp(min=1e-9))
    if correlation < LEAST_CORRELATION:
        return f"their latents correlate at {correlation:.2f}, which should be above {LEAST_CORRELATION}"
    if not SPREADS[0] < spread < SPREADS[1]:
        return f"their latents' spreads differ by a factor of {spread:.2f}, which should be near 1"
    return ""
