"""Which input numbers an output depends on: live taps, receptive fields, who is read, what a norm compares with."""

from collections.abc import Collection, Mapping, Sequence

import torch
from matplotlib.colors import ListedColormap
from torch import nn

from convnext_lessons.figures.palette import (
    CHANGED,
    CHANGED_WORDS,
    FAINT,
    HEAT,
    INK,
    NORM,
    PAPER_WHITE,
    POINTWISE,
    SPATIAL,
    STREAM,
)
from convnext_lessons.figures.plots import Plot, new_figure
from convnext_lessons.model.architecture import Architecture
from convnext_lessons.model.cost import count


def draw_live_shares(shares: Mapping[int, Sequence[Sequence[float]]], kernels: Sequence[int]) -> Plot:
    """Which share of a kernel's taps meets the picture, in percent: a panel for each picture size.

    Args:
        shares: by picture size in pixels; a row for each stage, in it a share for each kernel.
        kernels: their sizes.
    """
    figure, panels = new_figure(2.4 * len(shares), 2.9, columns=len(shares))
    words = []
    for panel, (size, rows) in zip(panels, shares.items(), strict=True):
        panel.imshow(rows, cmap=HEAT, vmin=0, vmax=1, aspect="auto")
        for row, in_stage in enumerate(rows):
            for column, share in enumerate(in_stage):
                color = PAPER_WHITE if share > DARK else INK
                panel.text(column, row, f"{100 * share:.0f}", ha="center", va="center", size=9, color=color)
            words.append(f"{size} px, stage {row + 1}: {', '.join(f'{100 * share:.0f}' for share in in_stage)}")
        panel.set_xticks(range(len(kernels)), kernels)
        panel.set_yticks(range(len(rows)), range(1, len(rows) + 1))
        panel.set(xlabel="kernel")
        panel.set_title(f"{size} px", size=10)
    panels[0].set_ylabel("stage")
    figure.suptitle("live taps, %", size=10)
    return Plot(figure, f"Live taps in percent, for kernels {', '.join(map(str, kernels))}: {'; '.join(words)}.")


DARK = 0.6  # from this share on, white numbers are read more easily than dark ones


def draw_live_taps(architecture: Architecture, image_size: int) -> Plot:
    """The positions that each stage has on a picture, the darker the more of the kernel's taps meet a pixel there.

    A tap that meets a pixel from no position at all is dead.
    """
    kernel_size = architecture.kernel_size
    figure, panels = new_figure(9.6, 3.2, columns=len(architecture.depths))
    words = []
    for stage, panel in enumerate(panels, start=1):
        n, p = image_size // 2 ** (stage + 1), kernel_size // 2
        axis = torch.tensor([min(i, p) + 1 + min(n - 1 - i, p) for i in range(n)]) / kernel_size
        shares = axis[:, None] * axis  # for each position
        panel.pcolormesh(shares.numpy(), cmap=HEAT, vmin=0, vmax=1, edgecolor=PAPER_WHITE, lw=min(1, 8 / n))
        panel.set(xticks=[], yticks=[], aspect="equal")
        dead = kernel_size**2 - min(kernel_size, 2 * n - 1) ** 2
        live = f"{shares.mean():.0%} live, {dead} of {kernel_size**2} dead"
        panel.set_title(f"stage {stage}: {n}×{n} positions\n{live}", size=9, color=CHANGED_WORDS if dead else INK)
        words.append(f"stage {stage}, {n}×{n} positions: {live}")
    gmacs = count(architecture).macs / 1e9
    title = f"{kernel_size}×{kernel_size} at {image_size} px; the network costs {gmacs:.3f} G at 224 px"
    figure.suptitle(title, size=10)
    figure.get_layout_engine().set(h_pad=0.1)
    return Plot(figure, f"{title}. Taps by {'; '.join(words)}.")


def draw_fields(fields: Mapping[str, torch.Tensor], half_sides: Mapping[str, int]) -> Plot:
    """Effective receptive fields beside each other, each with the square that holds half of its sum.

    Args:
        fields: by name, how strongly each pixel of a square picture moves a position.
        half_sides: by the same names, the side in pixels of that square, which lies in the picture's middle.
    """
    figure, panels = new_figure(9.6, 3.1, columns=len(fields))
    for panel, (name, field) in zip(panels, fields.items(), strict=True):
        size = len(field)
        low, high = (size - half_sides[name]) / 2, (size + half_sides[name]) / 2
        panel.imshow(nn.functional.avg_pool2d(field[None], 8)[0].numpy(), cmap=HEAT, extent=(0, size, size, 0))
        panel.plot([low, high, high, low, low], [low, low, high, high, low], color=CHANGED)
        panel.set(xticks=[], yticks=[], anchor="S")  # its title needs the room above
        panel.set_title(f"{name}\nhalf of the influence\nwithin {half_sides[name]} px", size=10)
    words = ", ".join(f"{name} {half_sides[name]} px" for name in fields)
    return Plot(figure, f"Effective receptive fields, and the side of the square that holds half of each: {words}.")


def draw_readers(counts: Mapping[tuple[int, int], torch.Tensor]) -> Plot:
    """How many outputs of a layer read each position of its input, a panel for each layer.

    Args:
        counts: [H, W] by the layer's kernel size and stride.
    """
    figure, panels = new_figure(2.6 * len(counts), 2.7, columns=len(counts))
    words = []
    for panel, ((kernel, stride), count_at) in zip(panels, counts.items(), strict=True):
        panel.imshow(count_at.numpy(), cmap=HEAT, vmin=0, vmax=max(2, count_at.max()))
        layer = f"{kernel}×{kernel}, stride {stride}"
        fewest, most = int(count_at.min()), int(count_at.max())
        often = f"{fewest} to {most} times" if fewest < most else "each once" if most == 1 else f"each {most} times"
        read = f"{(count_at > 0).float().mean():.0%} read, {often}"
        panel.set(title=layer, xlabel=read, xticks=[], yticks=[])
        words.append(f"{layer}: {read}")
    return Plot(figure, f"How many outputs read each position. {'; '.join(words)}.")


def draw_seen_pixels(seen: Mapping[str, tuple[torch.Tensor, torch.Tensor]], tile: int) -> Plot:
    """The pixels that two neighbouring positions see, a panel for each network: light blue are those of the one,
    orange those of the other, dark blue those of both.

    Args:
        seen: the two masks [rows, columns] by the network's name.
        tile: side of the grid's squares, in pixels.
    """
    figure, panels = new_figure(3.8 * len(seen), 3.8, columns=len(seen))
    colors = ListedColormap([PAPER_WHITE, POINTWISE, CHANGED, SPATIAL])
    words = []
    for panel, (name, (here, beside)) in zip(panels, seen.items(), strict=True):
        panel.imshow((here + 2 * beside).numpy(), cmap=colors, vmin=0, vmax=3)
        rows, columns = here.shape
        panel.set(xticks=[place - 0.5 for place in range(0, columns, tile)], xticklabels=[])
        panel.set(yticks=[place - 0.5 for place in range(0, rows, tile)], yticklabels=[])
        panel.tick_params(length=0)
        panel.grid(color=STREAM, lw=0.8)
        common = (here & beside).sum()
        panel.set_title(f"{name}: {here.sum()} pixels, {common} of them shared", size=10)
        words.append(f"{name} {here.sum()} and {beside.sum()}, {common} of them shared")
    return Plot(figure, f"Pixels that two neighbouring positions see: {'; '.join(words)}.")


def draw_who_hears(
    hears: Mapping[str, torch.Tensor], nudged: tuple[int, int, int], swins: Collection[str] = ()
) -> Plot:
    """Which numbers change with one that is nudged, a panel for each layer: channels over the columns of its row.

    Args:
        hears: a mask [channels, rows, columns] by the layer's name.
        nudged: channel, row and column of the number, which a ring marks.
        swins: the names of Swin's layers, drawn in green.
    """
    figure, panels = new_figure(1.92 * len(hears), 2.6, columns=len(hears))
    channel, row, column = nudged
    words = []
    for panel, (name, mask) in zip(panels, hears.items(), strict=True):
        colors = ListedColormap([FAINT, NORM if name in swins else SPATIAL])
        panel.imshow(mask[:, row].numpy(), cmap=colors, vmin=0, vmax=1)
        panel.plot(column, channel, marker="o", ms=7, mfc="none", mec=CHANGED, mew=2)
        channels, _, columns = mask.shape
        panel.set(xlabel="column", ylabel="channel", xticks=range(0, columns, 3), yticks=range(0, channels, 3))
        panel.set_title(name)
        words.append(f"{name}: channels {mask.flatten(1).any(1).sum()}, positions {mask.any(0).sum()}")
    figure.suptitle("one row of the window: that of the nudged number, in the ring", size=10)
    return Plot(figure, f"Who hears one nudged number, in {'; in '.join(words)}.")


def draw_norm_reach(shared: Mapping[str, torch.Tensor], marked: tuple[int, int, int, int]) -> Plot:
    """What norms compare one number of a batch with: a row a norm, a panel a picture.

    Args:
        shared: bool [N, C, H, W] by the norm's name: which numbers share a mean with the marked one.
        marked: picture, channel, row and column of the marked number, counted from 0.
    """
    pictures, channels, _, width = next(iter(shared.values())).shape
    picture, channel, row, column = marked
    figure, panels = new_figure(2.55 * pictures, 1.95 * len(shared), rows=len(shared), columns=pictures)
    words = []
    for number, (name, mask) in enumerate(shared.items()):
        in_row = panels[pictures * number : pictures * (number + 1)]
        for index, panel in enumerate(in_row):
            table = mask[index].flatten(1).T  # [positions, channels]
            panel.pcolormesh(table, cmap=ListedColormap([PAPER_WHITE, SPATIAL]), vmin=0, vmax=1, ec=STREAM, lw=0.6)
            panel.set_title(f"{name}, picture {index + 1}", size=9)
            panel.set(xlabel="channel", ylabel="position", xticks=[], yticks=[])
        in_row[picture].plot(channel + 0.5, row * width + column + 0.5, "o", color=CHANGED)
        in_channels, in_pictures = int(mask.any(dim=(0, 2, 3)).sum()), int(mask.any(dim=(1, 2, 3)).sum())
        places = f"in {in_channels} of {channels} channels and {in_pictures} of {pictures} pictures"
        words.append(f"{name} with {int(mask.sum())} numbers, {places}")
    return Plot(figure, f"What the marked number is compared with: {'; '.join(words)}.")
