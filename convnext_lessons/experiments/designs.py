"""Networks beside the road that stored runs try: what lessons compare a step with, and ConvNeXt-T without a step."""

import itertools

from convnext_lessons.model.architecture import LAYERS, RESNET50
from convnext_lessons.model.roadmap import LAST_STEP, STEPS, architecture_after

_STEP_1, _STEP_2, _STEP_3A, _STEP_4, _STEP_7, _STEP_8 = map(architecture_after, ("1", "2", "3a", "4", "7", "8"))

# By the names under which lessons find their runs.
TRIALS = {
    "ratio alone": _STEP_1.change(depths=(2, 3, 8, 3)),
    "compute alone": _STEP_1.change(depths=(4, 5, 6, 3)),
    "depthwise, width 80": _STEP_3A.change(width=80),
    "depthwise, width 88": _STEP_3A.change(width=88),
    "ResNet-50 with LayerNorm": RESNET50.change(norm="layer"),
    **{
        f"activations {' + '.join(kept) or 'nowhere'}": _STEP_7.change(activate_after=kept)
        for count in range(3)
        for kept in itertools.combinations(("first", "second", "addition"), count)
        if kept != ("second",)  # that is step 8
    },
    **{
        f"norms {' + '.join(kept) or 'nowhere'}": _STEP_8.change(normalize_after=kept)
        for count in range(3)
        for kept in itertools.combinations(LAYERS, count)
        if kept != ("first",)  # that is step 9
    },
}

# What comes to them with the next recipe. Splits of 18 blocks cost as many multiply-adds as step 1; four groups and the
# other expansions, within two and a half percent, as many as steps 2 and 4.
NEW_TRIALS = {
    "blocks 9, 3, 3, 3": _STEP_1.change(depths=(9, 3, 3, 3)),
    "blocks 3, 3, 3, 9": _STEP_1.change(depths=(3, 3, 3, 9)),
    "patches of 2": _STEP_2.change(patch_size=2),
    "patches of 8": _STEP_2.change(patch_size=8),
    "4 groups, width 80": _STEP_2.change(groups=4, width=80),
    **{f"expansion {n}, width {width}": _STEP_4.change(expansion=n, width=width) for n, width in ((1, 192), (2, 136))},
    "depthwise in the middle, 7×7": _STEP_4.change(kernel_size=7),
}

# Left out: step 3. Its dense 3×3 would become a dense 7×7, 13.3 G multiply-adds in place of 4.5 G.
TAKE_AWAY = {
    f"without {step.number}": architecture_after(LAST_STEP).change(
        **{change.field: getattr(RESNET50, change.field) for change in step.changes}
    )
    for step in STEPS
    if step.number != 3
}
