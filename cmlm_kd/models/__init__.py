"""Models, whatever their role: what is a student in one training is a teacher in the next."""
