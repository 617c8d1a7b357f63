"""ConvNeXt Lessons: a ResNet-50 becomes a ConvNeXt-T in eleven steps."""

__version__ = "0.1.0"
