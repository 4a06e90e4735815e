"""The budget page: its figures, the words for them, the form of a figure, the HTML."""
