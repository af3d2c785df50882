"""English function words, which augmentation leaves alone: to replace "not" is to change the label."""

_CLASSES = {
    "articles and determiners": "a an the this that these those each every either neither both all any some "
    "no none such same other another own few more most much many several enough",
    "personal pronouns": "i me my mine myself you your yours yourself yourselves he him his himself she her "
    "hers herself it its itself we us our ours ourselves they them their theirs themselves one ones",
    "questions and relatives": "who whom whose which what when where why how whoever whatever whichever "
    "whenever wherever",
    "be, have, do": "am is are was were be been being have has had having do does did doing done",
    "modals": "can could may might must shall should will would ought cannot",
    "negation": "not nor never nothing nobody nowhere",
    "conjunctions": "and or but if than because as while until unless although though since whether so yet",
    "prepositions": "about above across after against along among around at before behind below beneath "
    "beside besides between beyond by down during except for from in into inside near of off on onto out "
    "outside over per through throughout to toward towards under underneath up upon via with within without",
    "adverbs": "again also already always ever here there then now just only once too very",
    "what is left of contractions": "s t d ll m o re ve don didn doesn isn aren wasn weren hasn haven hadn "
    "won wouldn couldn shouldn mustn needn mightn shan ain",
}

ENGLISH = frozenset(word for words in _CLASSES.values() for word in words.split())
"""Lower-case words."""
