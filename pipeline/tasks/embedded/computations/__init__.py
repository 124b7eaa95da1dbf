"""The twelve computations, by name. Each maker draws one problem at a level of difficulty from 1 to 6.

The reference model is trained on levels 1 to 4; levels 5 and 6 go beyond what it has seen (longer lists, more
distraction), for computations that it would otherwise do without a mistake.

Several computations read bodies of one and the same distribution: `addition` and `subtraction` a pair of numbers;
`reversal`, `sorting` and `translation` a list of nouns; `facts` and `analogy` nouns and their properties.
"""

from __future__ import annotations

from pipeline.tasks.embedded.computations import arithmetic, knowledge, language, lists, state
from pipeline.tasks.embedded.problem import Maker

LEVELS = (1, 2, 3, 4, 5, 6)
TRAINED_LEVELS = (1, 2, 3, 4)

COMPUTATIONS: dict[str, Maker] = {
    "addition": arithmetic.addition,
    "subtraction": arithmetic.subtraction,
    "comparison": arithmetic.comparison,
    "sorting": lists.sorting,
    "reversal": lists.reversal,
    "translation": lists.translation,
    "boolean": state.boolean,
    "tracing": state.tracing,
    "tracking": state.tracking,
    "agreement": language.agreement,
    "facts": knowledge.facts,
    "analogy": knowledge.analogy,
}
