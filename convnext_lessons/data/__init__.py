"""Images, from an archive to a batch.

Data sets by name (``DATASETS``), a folder of one's own, tar files or a rendered stand-in; decoded once into memory or
read from the disk; augmented and handed out in batches as functions of seed, epoch and index.
"""

from convnext_lessons.data.augmentation import MEAN, STD, standardize, training_batches, validation_batches
from convnext_lessons.data.datasets import DATASETS, IMAGENETTE, DataSet, ImagesError, NotDownloaded, dataset_folder
from convnext_lessons.data.in_memory import Images, load_images, stand_in
from convnext_lessons.data.loader import Validation, training_stream
from convnext_lessons.data.on_disk import ImagesOnDisk, open_images

__all__ = [
    "DATASETS",
    "IMAGENETTE",
    "MEAN",
    "STD",
    "DataSet",
    "Images",
    "ImagesError",
    "ImagesOnDisk",
    "NotDownloaded",
    "Validation",
    "dataset_folder",
    "load_images",
    "open_images",
    "stand_in",
    "standardize",
    "training_batches",
    "training_stream",
    "validation_batches",
]
