"""Names, colours and markers of the structures, shared by all studies. Without torch."""

from itertools import cycle

COLORS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00")  # after Okabe and Ito: for the colour-blind
MARKERS = ("o", "v", "P", "D", "^", "s", "X", "*", "<", ">", "p")


def of(records: dict) -> dict[str, dict[str, str]]:
    """Return label, color and marker of each structure, with the label declared when the records were written."""
    looks = zip(records["structures"].items(), cycle(COLORS), cycle(MARKERS), strict=False)
    return {
        name: {"label": declared["label"], "color": color, "marker": marker}
        for (name, declared), color, marker in looks
    }
