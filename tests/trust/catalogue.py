"""All programs together."""

from __future__ import annotations

import classification_programs
import translation_programs

BASE = (*translation_programs.BASE, *classification_programs.BASE)
"""What the base is made of, in this order."""

GENERATE = translation_programs.GENERATE

PROGRAMS = (*translation_programs.PROGRAMS, *classification_programs.PROGRAMS)
"""What is spoilt, killed and tried in other surroundings."""

BY_NAME = {program.name: program for program in PROGRAMS}
