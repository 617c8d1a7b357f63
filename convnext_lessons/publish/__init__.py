"""The course for others: what is made from the lessons and the stored runs to be shown, mailed, printed or hosted.

Decks of slides, a poster and a handout for a reading group. Nothing here is imported by a lesson; ``commands`` calls
the modules one by one, and each says what it makes.
"""
