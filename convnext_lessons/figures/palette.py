"""The colours of every figure, Okabe and Ito's, which colour-blind readers can tell apart."""

from matplotlib.colors import LinearSegmentedColormap

SPATIAL, POINTWISE, NORM, ACTIVATION = "#0072B2", "#8CCBEE", "#009E73", "#F0E442"
STREAM, CHANGED, INK, SOFT, PAPER_WHITE = "#BBBBBB", "#D55E00", "#222222", "#666666", "#FFFFFF"
SCALE = "#CC79A7"  # of a layer scale
CHANGED_WORDS, NORM_WORDS = "#B34B00", "#007A59"  # words and thin numbers need more contrast: 4.5 : 1 on white
BEFORE, AFTER, MINE = STREAM, SPATIAL, CHANGED  # two networks beside each other, and what the reader ran
FAINT = "#EEEEEE"  # the ground under a mask
STAGES = ("#CFE8F7", POINTWISE, "#3F96CC", "#00507D")  # stage 1 to stage 4
HEAT = LinearSegmentedColormap.from_list("heat", (PAPER_WHITE, POINTWISE, SPATIAL, STAGES[-1]))  # of maps, from 0 up
