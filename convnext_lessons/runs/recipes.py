"""The recipes that the course trains with; add one to ``RECIPES``."""

from convnext_lessons.runs.recipe import Recipe, RecipeError

# A thin copy on small pictures: one run fits into the patience of a reader with two cores. The pilot chose these
# numbers; data/README.md says how, and what runs of this size can resolve.
POCKET = Recipe(
    "pocket",
    image_size=64,
    width_factor=1 / 4,
    epochs=4,
    batch_size=64,
    learning_rate=2e-3,
    weight_decay=0.2,
)

# The full network at 128 px on one GPU. What the pilot said of thin copies is carried over; the lower learning rate for
# the wider network and the longer warm-up are not measured yet.
LESSON = Recipe(
    "lesson",
    image_size=128,
    width_factor=1.0,
    epochs=5,
    batch_size=64,
    learning_rate=1e-3,
    warmup_epochs=1.0,
    weight_decay=0.2,
)

# ConvNeXt-T as the paper trains it (appendix A.1 and table 5; the code's 0.02 for the initialization).
PAPER = Recipe(
    "paper",
    image_size=224,
    width_factor=1.0,
    epochs=300,
    batch_size=4096,
    local_batch_size=128,  # 8 GPUs on each of 4 machines
    learning_rate=4e-3,
    final_learning_rate=1e-6,
    warmup_epochs=20,
    weight_decay=0.05,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    crop_scale=0.08,
    augmentation="rand_augment",
    erasing=0.25,
    ema=0.9999,
    stochastic_depth=0.1,
    layer_scale_init=1e-6,
)

# The same on ResNet-50, where the road begins: without the moving average, which the paper leaves out there.
MODERN = PAPER.change(name="modern", ema=0.0)

# ResNet-50 as its authors' successors trained it for years; torchvision's first weights (76.130 %) are of this kind.
ORIGINAL = Recipe(
    "original",
    image_size=224,
    width_factor=1.0,
    epochs=90,
    batch_size=256,
    local_batch_size=32,  # 8 GPUs
    learning_rate=0.1,
    warmup_epochs=0,
    schedule="steps",
    algorithm="sgd",
    weight_decay=1e-4,
    crop_scale=0.08,
    augmentation="crops",
    interpolation="bilinear",
    initialization="fan_out",
)

# How torchvision's own convnext_tiny reached 82.520 % (pytorch/vision, pull request 5197). Its average is updated every
# 32nd step, by 1 - 0.99998 times 32 · 1024 / 600; here every step takes its share of that. It also lets biases decay
# and erases to grey, where ours go without decay and erase to noise; its rate begins its warm-up at a hundredth and
# moves once an epoch, ours begins at 0 and moves every step; and its average follows the weights until warm-up ends.
TORCHVISION = Recipe(
    "torchvision",
    image_size=176,
    width_factor=1.0,
    epochs=600,
    batch_size=1024,
    local_batch_size=128,  # 8 GPUs
    learning_rate=1e-3,
    final_learning_rate=0.0,
    warmup_epochs=5,
    weight_decay=0.05,
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    crop_scale=0.08,
    augmentation="trivial_augment",
    erasing=0.1,
    repeats=4,
    interpolation="bilinear",
    evaluation_size=224,
    evaluation_share=224 / 236,
    ema=1 - (1 - 0.99998) * 1024 / 600,
    stochastic_depth=0.1,
    layer_scale_init=1e-6,
)

# Every part of the paper's recipe at a size that two cores finish in minutes. What is not the paper's follows from the
# size: batches of 64 take a lower rate, an average of few steps a faster decay, and short runs mute blocks that begin
# at a millionth.
REHEARSAL = PAPER.change(
    name="rehearsal",
    local_batch_size=None,
    image_size=64,
    width_factor=1 / 4,
    epochs=16,
    batch_size=64,
    learning_rate=2e-3,
    warmup_epochs=1,
    ema=0.99,
    layer_scale_init=1.0,
)

# To go on from trained weights, on some hundred pictures of one's own and two cores: a low rate, which changes what is
# there only a little, and no average, which a few hundred steps would not fill. Its numbers were not tuned.
FINETUNE = Recipe(
    "finetune",
    image_size=128,
    width_factor=1.0,
    epochs=10,
    batch_size=16,
    learning_rate=2e-4,
    warmup_epochs=1.0,
    weight_decay=0.05,
    label_smoothing=0.1,
    stochastic_depth=0.1,
)

_ALL = (POCKET, LESSON, PAPER, MODERN, ORIGINAL, TORCHVISION, REHEARSAL, FINETUNE)
RECIPES = {recipe.name: recipe for recipe in _ALL}


def recipe_of(scale: str) -> Recipe:
    """The recipe of a scale, by name.

    Raises:
        RecipeError: there is no such scale.
    """
    if not isinstance(scale, str) or scale not in RECIPES:
        raise RecipeError(f"There is no recipe {scale!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[scale]
