"""Training logs read back: bytes to lines (`text`), a line to what it says (`grammar`), lines to runs (`reader`)."""
